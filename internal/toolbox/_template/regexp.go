package main

import (
	"fmt"
	"regexp"
	"strings"
)

// compileRegexp compiles a POSIX regular expression, basic or extended, by spelling it in Go's syntax. Matches are leftmost-longest,
// as POSIX has them. Back-references inside a pattern are refused: Go's engine, which never backtracks, has none.
func compileRegexp(pattern string, extended, ignoreCase bool) (*regexp.Regexp, error) {
	expr, err := goRegexp(pattern, extended)
	if err != nil {
		return nil, err
	}
	if ignoreCase {
		expr = "(?i)" + expr
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	re.Longest()
	return re, nil
}

// regexpWriter translates one pattern.
type regexpWriter struct {
	out      strings.Builder
	extended bool
	// atStart is set where a `*` is an ordinary character in a basic expression and `^` an anchor.
	atStart bool
}

func goRegexp(pattern string, extended bool) (string, error) {
	w := &regexpWriter{extended: extended, atStart: true}
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '[':
			set, n, err := bracket(pattern[i:])
			if err != nil {
				return "", err
			}
			w.put(set)
			i += n
			continue
		case c == '\\':
			if i++; i == len(pattern) {
				return "", fmt.Errorf("pattern %q: trailing backslash", pattern)
			}
			if err := w.escaped(pattern, pattern[i]); err != nil {
				return "", err
			}
		case c == '*' && w.atStart && !extended:
			w.put(`\*`)
		case c == '^' && !extended && !w.atStart:
			w.put(`\^`)
		case c == '^' && !extended:
			w.out.WriteByte('^') // a star behind it is still ordinary
		case c == '$' && !extended && !endsBasic(pattern[i+1:]):
			w.put(`\$`)
		case strings.IndexByte("(){}|+?", c) >= 0 && !extended:
			w.put(`\` + string(c))
		case c == '{' && !isRepeat(pattern[i:], "}"):
			w.put(`\{`)
		case c == '(' || c == '|':
			w.out.WriteByte(c)
			w.atStart = true
		default:
			w.put(string(c))
		}
		i++
	}
	return w.out.String(), nil
}

func (w *regexpWriter) put(s string) {
	w.out.WriteString(s)
	w.atStart = false
}

// escaped writes the character behind a backslash.
func (w *regexpWriter) escaped(pattern string, c byte) error {
	switch {
	case strings.IndexByte("(|", c) >= 0 && !w.extended:
		w.out.WriteByte(c)
		w.atStart = true
	case strings.IndexByte("){}+?", c) >= 0 && !w.extended:
		w.put(string(c))
	case c >= '1' && c <= '9':
		return fmt.Errorf("pattern %q: back-reference \\%c is not supported", pattern, c)
	case c == '<' || c == '>':
		w.put(`\b`)
	case strings.IndexByte("wWsSbB", c) >= 0:
		w.put(`\` + string(c))
	case c == 'n' || c == 't':
		w.put(`\` + string(c))
	case c == '`':
		w.put(`\A`)
	case c == '\'':
		w.put(`\z`)
	case c < 0x80 && !isWordByte(c):
		w.put(`\` + string(c))
	default:
		w.put(string(c))
	}
	return nil
}

func isWordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

func endsBasic(rest string) bool {
	return rest == "" || strings.HasPrefix(rest, `\)`) || strings.HasPrefix(rest, `\|`)
}

// isRepeat reports whether s starts with `{n}`, `{n,}`, `{n,m}` or `{,m}`.
func isRepeat(s, end string) bool {
	i := strings.Index(s, end)
	return i > 1 && strings.Trim(s[1:i], "0123456789,") == ""
}

// bracket translates a bracket expression, where a backslash is an ordinary character, and returns its length.
func bracket(s string) (string, int, error) {
	var out strings.Builder
	out.WriteByte('[')
	i := 1
	if i < len(s) && s[i] == '^' {
		out.WriteByte('^')
		i++
	}
	for first := true; i < len(s); first = false {
		switch c := s[i]; {
		case c == ']' && !first:
			out.WriteByte(']')
			return out.String(), i + 1, nil
		case c == '[' && i+1 < len(s) && s[i+1] == ':':
			end := strings.Index(s[i:], ":]")
			if end < 0 {
				return "", 0, fmt.Errorf("pattern %q: unterminated character class", s)
			}
			out.WriteString(s[i : i+end+2])
			i += end + 2
		case c == '[' || c == ']' || c == '\\' || c == '^' || c == '&' || c == '~':
			// In sed and grep, people write [\n] and [\t] and mean the control characters, as GNU reads them.
			if c == '\\' && i+1 < len(s) && (s[i+1] == 'n' || s[i+1] == 't') {
				out.WriteString(s[i : i+2])
				i += 2
				continue
			}
			out.WriteString(`\` + string(c))
			i++
		default:
			out.WriteByte(c)
			i++
		}
	}
	return "", 0, fmt.Errorf("pattern %q: unterminated [", s)
}
