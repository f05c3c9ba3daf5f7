package source

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
)

const (
	gitIgnoreFile  = ".gitignore"
	gitExcludeFile = ".git/info/exclude"
	gitDirectory   = ".git"
)

// gitLevel are the rules of one .gitignore file and, through up, of those above it. A nil
// *gitLevel ignores nothing. It is immutable.
type gitLevel struct {
	up    *gitLevel
	base  string // directory of the file, with a slash at its end, or ""
	rules []gitRule
}

// gitRule is one line of a .gitignore file.
type gitRule struct {
	Rule
	exception bool // "!pattern"
	dirOnly   bool // "pattern/"
	anchored  bool // a slash at its beginning or inside: it is about the path below base
	glob      glob
}

// parseGitIgnore reads a file by the rules of gitignore(5): a byte order mark and the CR
// of a line end are dropped, "#" begins a comment, "!" an exception, and spaces at the
// end count only behind a backslash.
func parseGitIgnore(data []byte, name string) ([]gitRule, error) {
	if len(data) > maxIgnoreBytes {
		return nil, &LimitError{Source: name, What: "size in bytes", Limit: maxIgnoreBytes}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var rules []gitRule
	n := 0
	for line := range bytes.Lines(data) {
		n++
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if cut := bytes.IndexByte(line, 0); cut >= 0 {
			line = line[:cut] // a line of git is a string of C
		}
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		text := trimSpaces(string(line))
		if text == "" {
			continue
		}
		if len(rules) == maxIgnorePatterns {
			return nil, &LimitError{Source: name, What: "number of patterns", Limit: maxIgnorePatterns}
		}
		rules = append(rules, newGitRule(Rule{File: name, Line: n, Pattern: text}))
	}
	return rules, nil
}

func newGitRule(from Rule) gitRule {
	r := gitRule{Rule: from}
	text := from.Pattern
	text, r.exception = strings.CutPrefix(text, "!")
	text, r.dirOnly = strings.CutSuffix(text, "/")
	r.anchored = strings.Contains(text, "/")
	r.glob = compileGlob(strings.TrimPrefix(text, "/"), r.anchored)
	return r
}

// trimSpaces drops spaces at the end that no backslash keeps.
func trimSpaces(text string) string {
	end := -1 // of the pattern, where only spaces follow
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case ' ':
			if end < 0 {
				end = i
			}
			continue
		case '\\':
			if i++; i == len(text) {
				return text
			}
		}
		end = -1
	}
	if end >= 0 {
		return text[:end]
	}
	return text
}

// match finds the rule that decides about a path whose directory is not ignored: of the
// nearest file that has one, the last.
func (l *gitLevel) match(path string, isDir bool) (ignored bool, by *gitRule) {
	name := path[strings.LastIndexByte(path, '/')+1:]
	for ; l != nil; l = l.up {
		for i := len(l.rules) - 1; i >= 0; i-- {
			r := &l.rules[i]
			if r.dirOnly && !isDir {
				continue
			}
			subject := name
			if r.anchored {
				subject = path[len(l.base):]
			}
			if r.glob.match(subject) {
				return !r.exception, r
			}
		}
	}
	return false, nil
}

// gitLevelOf adds the .gitignore file of a directory, if it has one, to the rules above.
// A link is not followed, as in git.
func gitLevelOf(root beneath, dir string, up *gitLevel) (*gitLevel, error) {
	base := dir
	if base != "" {
		base += "/"
	}
	if up == nil && dir == "" {
		rules, err := readGitIgnore(root, gitExcludeFile)
		if err != nil {
			return nil, err
		}
		if len(rules) > 0 {
			up = &gitLevel{rules: rules}
		}
	}
	rules, err := readGitIgnore(root, base+gitIgnoreFile)
	if err != nil || len(rules) == 0 {
		return up, err
	}
	return &gitLevel{up: up, base: base, rules: rules}, nil
}

// readGitIgnore reads a file of rules; none when it is no regular file.
func readGitIgnore(root beneath, path string) ([]gitRule, error) {
	var e Entry
	if err := root.lstat(path, &e); err != nil {
		if isMissing(err) || isReplaced(err) || errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	if !e.Mode.IsRegular() {
		return nil, nil
	}
	f, err := root.openFile(path)
	if err != nil {
		return nil, &IgnoreError{Rule: Rule{File: path}, Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxIgnoreBytes+1))
	if err != nil {
		return nil, &IgnoreError{Rule: Rule{File: path}, Err: err}
	}
	return parseGitIgnore(data, path)
}

// gitVerdict fills in which rule of git hides v.Path, if one does.
func (d *Directory) gitVerdict(root beneath, v *Verdict) error {
	var level *gitLevel
	dir := ""
	for n := 1; n <= len(v.Path); n++ {
		if n < len(v.Path) && v.Path[n] != '/' {
			continue
		}
		var err error
		if level, err = gitLevelOf(root, dir, level); err != nil {
			return err
		}
		part := v.Path[:n]
		var e Entry
		isDir := root.lstat(part, &e) == nil && e.Mode.IsDir()
		if part[strings.LastIndexByte(part, '/')+1:] == gitDirectory {
			v.Ignored, v.Hidden, v.Rule = true, part, Rule{File: "git", Line: 1, Pattern: gitDirectory}
			return nil
		}
		if ignored, by := level.match(part, isDir); ignored {
			v.Ignored, v.Hidden, v.Rule = true, part, by.Rule
			return nil
		}
		dir = part
	}
	return nil
}
