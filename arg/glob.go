package arg

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A glob is a parsed pattern: characters, and the two wildcards as negative numbers.
type glob []rune

const (
	anyOne  rune = -1
	anyText rune = -2
)

// parseGlob reads a pattern. An escape before '}' or '/' belongs to ${…} and not to the pattern; strict patterns also
// know an escaped '$', which BuildKit refuses.
func parseGlob(pattern string, strict bool) (glob, error) {
	var g glob
	escaped := false
	for _, r := range pattern {
		switch {
		case escaped:
			if !strings.ContainsRune(`*?\}/`, r) && !(strict && r == '$') {
				return nil, fmt.Errorf("invalid escape '\\%c'", r)
			}
			g = append(g, r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '?':
			g = append(g, anyOne)
		case r == '*':
			if len(g) == 0 || g[len(g)-1] != anyText { // two are one
				g = append(g, anyText)
			}
		default:
			g = append(g, r)
		}
	}
	if escaped {
		return nil, errors.New(`ends in a lone '\'; write '\\' for a backslash`)
	}
	return g, nil
}

// literal gives the pattern's text when it has no wildcard. Bytes that are no UTF-8 have been read as U+FFFD, which
// matches any of them, so such a pattern is not literal.
func (g glob) literal() (string, bool) {
	for _, r := range g {
		if r < 0 || r == utf8.RuneError {
			return "", false
		}
	}
	return string(g), true
}

func (g glob) reverse() glob {
	r := slices.Clone(g)
	slices.Reverse(r)
	return r
}

// compile gives the regular expression: package regexp matches in linear time.
func (g glob) compile(longest, anchored bool) *regexp.Regexp {
	var b strings.Builder
	if anchored {
		b.WriteByte('^')
	}
	for _, r := range g {
		switch {
		case r == anyOne:
			b.WriteByte('.')
		case r == anyText && longest:
			b.WriteString(".*")
		case r == anyText:
			b.WriteString(".*?")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.MustCompile(b.String())
}

// matchStart gives the length of the beginning of s that matches, 0 when none does.
func (g glob) matchStart(s string, longest bool) int {
	if m := g.compile(longest, true).FindStringIndex(s); m != nil {
		return m[1]
	}
	return 0
}

// reverse puts the characters of s in the opposite order and keeps bytes that are no UTF-8.
func reverse(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		_, size := utf8.DecodeLastRuneInString(s)
		b.WriteString(s[len(s)-size:])
		s = s[:len(s)-size]
	}
	return b.String()
}
