package arg

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxEffort bounds one expansion: it is spent in units of one pattern token tried on one byte of a value, of which a
// machine of today does some tens of millions a second.
const maxEffort = 1 << 24

// An evaluator turns nodes into text. It is used for one expansion.
type evaluator struct {
	text    string
	lookup  Lookup
	options Options
	effort  int // what is left
}

func (e *evaluator) tooLarge() error {
	return fmt.Errorf("arg: %s expands to more than %d bytes: %w", excerpt(e.text, 0), maxText, ErrLimit)
}

// spend accounts for work before it is done.
func (e *evaluator) spend(n int) error {
	if n > e.effort {
		e.effort = 0
		return fmt.Errorf("arg: the patterns of %s take too long to match: %w", excerpt(e.text, 0), ErrLimit)
	}
	e.effort -= n
	return nil
}

func (e *evaluator) join(nodes []node) (string, error) {
	if len(nodes) == 1 {
		return e.node(&nodes[0])
	}
	var b strings.Builder
	for i := range nodes {
		s, err := e.node(&nodes[i])
		if err != nil {
			return "", err
		}
		if b.Len()+len(s) > maxText {
			return "", e.tooLarge()
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func (e *evaluator) node(n *node) (string, error) {
	if n.sub == nil {
		return n.text, nil
	}
	s, err := e.substitute(n.sub)
	if err == nil && len(s) > maxText {
		err = e.tooLarge()
	}
	return s, err
}

func (e *evaluator) substitute(s *substitution) (string, error) {
	var value string
	var set bool
	if e.lookup != nil {
		value, set = e.lookup(s.name)
	}
	if e.options.Strict && !set {
		switch s.op {
		case "", "#", "##", "%", "%%", "/", "//":
			return "", &UnsetError{Name: s.name, Offset: s.offset,
				Msg: fmt.Sprintf("is not set; give it a value, or write ${%s:-value} for a default", s.name)}
		}
	}
	missing := !set || (value == "" && strings.HasPrefix(s.op, ":"))
	switch s.op {
	case "":
		return value, nil
	case "-", ":-":
		return e.choose(s, missing, value)
	case "+", ":+":
		return e.choose(s, !missing, "")
	case "?", ":?":
		message, err := e.choose(s, missing, "")
		if err != nil || !missing {
			return value, err
		}
		if message == "" && set {
			message = "is not allowed to be empty"
		} else if message == "" {
			message = "is not allowed to be unset"
		}
		return "", &UnsetError{Name: s.name, Offset: s.offset, Empty: set, Msg: message}
	case "/", "//":
		return e.replace(s, value)
	default:
		return e.trim(s, value)
	}
}

// choose gives the operand when it is wanted, else other. BuildKit evaluates an operand also when it does not use it.
func (e *evaluator) choose(s *substitution, wanted bool, other string) (string, error) {
	if !wanted && !e.options.docker() {
		return other, nil
	}
	word, err := e.join(s.word)
	if !wanted {
		word = other
	}
	return word, err
}

func (e *evaluator) glob(s *substitution, text string) (glob, error) {
	g, err := parseGlob(text, !e.options.docker())
	if err != nil {
		return nil, &SyntaxError{Text: e.text, Offset: s.offset, Msg: fmt.Sprintf("pattern %s of ${%s%s…}: %v", excerpt(text, 0), s.name, s.op, err)}
	}
	return g, nil
}

// trim removes the beginning or the end of value that matches.
func (e *evaluator) trim(s *substitution, value string) (string, error) {
	text, err := e.join(s.word)
	if err != nil {
		return "", err
	}
	longest := len(s.op) == 2
	if e.options.docker() && !longest && strings.HasPrefix(text, s.op) { // BuildKit looks for the second sign after expansion
		longest, text = true, text[1:]
	}
	g, err := e.glob(s, text)
	if err != nil {
		return "", err
	}
	prefix := s.op[0] == '#'
	if literal, ok := g.literal(); ok {
		if prefix {
			return strings.TrimPrefix(value, literal), nil
		}
		return strings.TrimSuffix(value, literal), nil
	}
	if err := e.spend((len(g) + 1) * (len(value) + 1)); err != nil {
		return "", err
	}
	if prefix {
		return value[g.matchStart(value, longest):], nil
	}
	// A search from the left finds the shortest and the longest beginning; for an end both sides are reversed.
	n := g.reverse().matchStart(reverse(value), longest)
	return value[:len(value)-n], nil
}

// replace substitutes the first match, or with the operator "//" every one.
func (e *evaluator) replace(s *substitution, value string) (string, error) {
	text, err := e.join(s.word)
	if err != nil {
		return "", err
	}
	with, err := e.join(s.with)
	if err != nil {
		return "", err
	}
	g, err := e.glob(s, text)
	if err != nil {
		return "", err
	}
	all := s.op == "//"
	literal, isLiteral := g.literal()
	if all && e.options.docker() && strings.Contains(with, "$") {
		re := g.compile(true, false)
		return e.replaceAll(value, re, len(g), func(dst []byte, match string) []byte {
			return re.ExpandString(dst, with, match, []int{0, len(match)}) // "$0" is the match and "$$" a dollar sign
		})
	}
	switch {
	case isLiteral && literal != "" && all && strings.Count(value, literal)*(len(with)-len(literal)) > maxText-len(value):
		return "", e.tooLarge()
	case isLiteral && literal != "" && all:
		return strings.ReplaceAll(value, literal, with), e.spend(len(value) + len(with))
	case isLiteral && !all:
		return strings.Replace(value, literal, with, 1), nil
	case all:
		return e.replaceAll(value, g.compile(true, false), len(g), func(dst []byte, _ string) []byte {
			return append(dst, with...)
		})
	}
	if err := e.spend((len(g) + 1) * (len(value) + 1)); err != nil {
		return "", err
	}
	if m := g.compile(true, false).FindStringIndex(value); m != nil {
		value = value[:m[0]] + with + value[m[1]:]
	}
	return value, nil
}

// replaceAll is regexp.ReplaceAllStringFunc with a limit: replacement appends what stands for a match.
func (e *evaluator) replaceAll(value string, re *regexp.Regexp, tokens int, replacement func(dst []byte, match string) []byte) (string, error) {
	if err := e.spend((tokens + 1) * (len(value) + 1)); err != nil {
		return "", err
	}
	var out []byte
	last, previous := 0, -1 // end of what is copied; end of the match before
	for pos := 0; pos <= len(value); {
		m := re.FindStringIndex(value[pos:])
		if m == nil {
			break
		}
		from, to := pos+m[0], pos+m[1]
		pos = to
		if from == to {
			_, size := utf8.DecodeRuneInString(value[to:])
			pos += max(size, 1)
			if from == previous { // an empty match directly after another match is none
				continue
			}
		}
		out = append(out, value[last:from]...)
		out = replacement(out, value[from:to])
		last, previous = to, to
		if len(out) > maxText {
			return "", e.tooLarge()
		}
	}
	return string(append(out, value[last:]...)), nil
}
