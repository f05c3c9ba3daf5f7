package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/moby/patternmatcher"
)

// Limits of an ignore file.
const (
	maxIgnoreBytes    = 1 << 20
	maxIgnorePatterns = 10_000
)

// Ignore is a parsed ignore file with exactly Docker's rules: patterns are
// anchored at the root, "*" stops at a slash, "**" does not, the last pattern
// that matches a path or a directory above it decides, and "!" re-includes.
// It is immutable. A nil *Ignore ignores nothing.
type Ignore struct {
	rules      []ignoreRule
	exceptions bool // some rule re-includes
}

// ignoreRule is one pattern, compiled when it is parsed so that matching needs
// no lock.
type ignoreRule struct {
	Rule
	exception bool   // "!pattern"
	clean     string // slash separated
	literal   bool   // clean has no wildcard: compare, do not match
	depth     int    // number of components that a match has, 0 when any number
	// What a match must begin with, contain and end with: most paths are told
	// apart without a regular expression.
	head, body, tail string
	matcher          *patternmatcher.PatternMatcher // "**" and the pattern as its exception
	alone            patternmatcher.MatchInfo       // of a parent that matcher does not match
}

// ParseIgnore reads an ignore file; name stands in its rules and errors. Lines
// are handled as Docker does: a byte order mark is dropped, "#" makes a comment
// in the first column only, blank lines are skipped, spaces around a pattern and
// a leading slash are removed. Errors: *[IgnoreError] for a pattern that is
// wrong, with its line; *[LimitError]; the reader's.
func ParseIgnore(r io.Reader, name string) (*Ignore, error) {
	i := &Ignore{}
	limited := &io.LimitedReader{R: r, N: maxIgnoreBytes + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, maxIgnoreBytes+2)
	for n := 1; lines.Scan(); n++ {
		line := lines.Bytes()
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if limited.N <= 0 {
			break
		}
		if bytes.HasPrefix(line, []byte("#")) {
			continue
		}
		if err := i.add(name, n, string(line)); err != nil {
			return nil, err
		}
	}
	if limited.N <= 0 {
		return nil, &LimitError{Source: name, What: "size in bytes", Limit: maxIgnoreBytes}
	}
	if err := lines.Err(); err != nil {
		return nil, &IgnoreError{Rule: Rule{File: name}, Err: fmt.Errorf("cannot be read: %w", err)}
	}
	return i, nil
}

// add parses one line and appends its rule, if it is one.
func (i *Ignore) add(name string, line int, text string) error {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	r := ignoreRule{Rule: Rule{File: name, Line: line, Pattern: text}}
	fail := func(err error) error { return &IgnoreError{Rule: r.Rule, Err: err} }
	if len(i.rules) == maxIgnorePatterns {
		return &LimitError{Source: name, What: "number of patterns", Limit: maxIgnorePatterns}
	}
	clean := cleanPattern(text)
	if clean == "!" {
		return fail(errors.New("nothing follows the \"!\"; name what to include again"))
	}
	r.clean, r.exception = strings.CutPrefix(clean, "!")
	if err := r.compile(); err != nil {
		return fail(err)
	}
	i.exceptions = i.exceptions || r.exception
	i.rules = append(i.rules, r)
	return nil
}

// cleanPattern is what Docker makes of a trimmed, non-empty pattern. The "!" is
// taken off for cleaning and looked for again afterwards, so "/!x" re-includes x.
func cleanPattern(text string) string {
	body, not := strings.CutPrefix(text, "!")
	body = strings.TrimSpace(body)
	if body != "" {
		body = filepath.ToSlash(filepath.Clean(body))
		if len(body) > 1 {
			body = strings.TrimPrefix(body, "/")
		}
	}
	if not {
		body = "!" + body
	}
	return filepath.ToSlash(filepath.Clean(strings.TrimSpace(body)))
}

// compile prepares the rule for matching from several goroutines.
func (r *ignoreRule) compile() error {
	if !strings.ContainsAny(r.clean, `*?[]\`) {
		r.literal, r.head = true, r.clean
		r.depth = strings.Count(r.clean, "/") + 1
		return nil
	}
	r.outline()
	if !utf8.ValidString(r.clean) || strings.ContainsRune(r.clean, 0) {
		return errors.New("a pattern with wildcards must be valid UTF-8 without NUL")
	}
	// Asked as the exception to everything, since as a pattern of its own one that
	// begins with "!" could not be asked for.
	m, err := patternmatcher.New([]string{"**", "!" + filepath.FromSlash(r.clean)})
	if err != nil {
		return fmt.Errorf("%w; write \\ before a [ that stands for itself", err)
	}
	// The state of a directory that neither pattern matches; given it, the library
	// looks at the path alone and not at those above.
	other, err := patternmatcher.New([]string{"a", "a"})
	if err != nil {
		return err
	}
	if _, r.alone, err = other.MatchesUsingParentResults("b", patternmatcher.MatchInfo{}); err != nil {
		return err
	}
	// The library compiles a pattern at its first use, which must not happen in
	// two goroutines at once.
	if _, _, err := m.MatchesUsingParentResults(".", r.alone); err != nil {
		return fmt.Errorf("%w; write \\ before a [ that stands for itself", err)
	}
	r.matcher = m
	return nil
}

// outline finds what every match of a pattern with plain wildcards has in
// common. The library makes a regular expression of the pattern in which classes,
// backslashes and the characters ^|{} keep a meaning that "clean" does not show;
// such a pattern gets no outline.
func (r *ignoreRule) outline() {
	if strings.ContainsAny(r.clean, `[]\^|{}`) {
		return
	}
	if !strings.Contains(r.clean, "**") {
		r.depth = strings.Count(r.clean, "/") + 1
	}
	wild := func(c rune) bool { return c == '*' || c == '?' }
	r.head = r.clean[:strings.IndexFunc(r.clean, wild)]
	r.tail = r.clean[strings.LastIndexFunc(r.clean, wild)+1:]
	if strings.HasSuffix(r.clean[:len(r.clean)-len(r.tail)], "**") {
		r.tail = strings.TrimPrefix(r.tail, "/") // "**/" may match nothing
	}
	for part := range strings.FieldsFuncSeq(r.clean, wild) {
		if part = strings.TrimPrefix(part, "/"); len(part) > len(r.body) {
			r.body = part
		}
	}
}

// Match reports whether path, relative to the root and slash separated, is
// ignored, and by which rule. The root is never ignored.
func (i *Ignore) Match(p string) (ignored bool, rule Rule) {
	ignored, rule, _ = i.explain(p)
	return ignored, rule
}

// explain is Match that also tells which path the deciding rule matched: p
// itself or a directory above it.
func (i *Ignore) explain(p string) (ignored bool, rule Rule, at string) {
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	if i == nil || len(i.rules) == 0 || p == "" {
		return false, Rule{}, ""
	}
	var above matched
	last := -1
	for end := 0; end < len(p); {
		if next := strings.IndexByte(p[end+1:], '/'); next < 0 {
			end = len(p)
		} else {
			end += 1 + next
		}
		var by int
		ignored, by, above = i.match(p[:end], above, true)
		if by != last {
			last, at = by, p[:end]
		}
	}
	if !ignored {
		return false, Rule{}, ""
	}
	return true, i.rules[last].Rule, at
}
