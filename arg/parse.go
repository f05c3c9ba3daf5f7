package arg

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A node is a piece of a parsed text: a literal, or a substitution.
type node struct {
	text   string // the literal, when sub is nil
	quoted bool   // its white space does not separate words
	sub    *substitution
}

// A substitution is one $NAME or ${NAME…}.
type substitution struct {
	offset int // of '$'
	name   string
	op     string // see Ref.Operator
	word   []node // the operand; for "/" the pattern
	with   []node // for "/" the replacement
}

// A place says which part of a substitution is being read: it decides what becomes of backslashes.
type place uint8

const (
	plain       place = iota // outside braces
	operand                  // after -, + and ?
	pattern                  // after # and %, and the first of /p/w: escapes are kept for the pattern's own reader
	replacement              // the second of /p/w
)

// maxDepth bounds how deep braces nest.
const maxDepth = 100

type parser struct {
	text    string
	pos     int
	depth   int
	options Options
}

func (p *parser) fail(offset int, format string, a ...any) error {
	return &SyntaxError{Text: p.text, Offset: offset, Msg: fmt.Sprintf(format, a...)}
}

// peek gives the next character and its size; size 0 is the end. A byte that is no UTF-8 is one character.
func (p *parser) peek() (r rune, size int) { return utf8.DecodeRuneInString(p.text[p.pos:]) }

// A collector joins literals into nodes, so that a text without variables is one node.
type collector struct {
	nodes  []node
	text   strings.Builder
	quoted bool
}

func (c *collector) add(s string, quoted bool) {
	if quoted != c.quoted {
		c.flush()
		c.quoted = quoted
	}
	c.text.WriteString(s)
}

func (c *collector) flush() {
	if c.text.Len() > 0 {
		c.nodes = append(c.nodes, node{text: c.text.String(), quoted: c.quoted})
		c.text.Reset()
	}
}

func (c *collector) addSub(s *substitution, quoted bool) {
	c.flush()
	c.nodes = append(c.nodes, node{sub: s, quoted: quoted})
}

// until reads up to and including an unescaped stop, or to the end when stop is 0.
func (p *parser) until(stop rune, in place) ([]node, error) {
	var c collector
	for {
		r, size := p.peek()
		switch {
		case size == 0 && stop != 0:
			return nil, p.fail(p.pos, "missing %q", stop)
		case size == 0:
			c.flush()
			return c.nodes, nil
		case r == stop && stop != 0:
			p.pos += size
			c.flush()
			return c.nodes, nil
		case r == '$':
			if err := p.dollar(&c, false); err != nil {
				return nil, err
			}
		case r == '\'' && p.options.Quotes == Word:
			if err := p.singleQuoted(&c, in); err != nil {
				return nil, err
			}
		case r == '"' && p.options.Quotes == Word:
			if err := p.doubleQuoted(&c, in); err != nil {
				return nil, err
			}
		case r == p.options.Escape:
			p.escaped(&c, in)
		case r == '<' && p.options.docker():
			p.heredoc(&c)
		default:
			c.add(p.text[p.pos:p.pos+size], false)
			p.pos += size
		}
	}
}

// escaped reads an escape character outside quotes and what it escapes.
func (p *parser) escaped(c *collector, in place) {
	start := p.pos
	p.pos += utf8.RuneLen(p.options.Escape)
	if !p.options.docker() && in != pattern {
		p.pos = start
		p.escapedText(c, in)
		return
	}
	after := p.pos
	if _, size := p.peek(); size > 0 {
		p.pos += size
	}
	switch {
	case in == pattern || in == replacement: // both characters stay, whether or not one follows
		c.add(p.text[start:p.pos], true)
	default:
		c.add(p.text[after:p.pos], true)
	}
}

// escapedText reads a run of escape characters in mode Text: only before a character that is special at this place do
// they escape, and there each two stand for one.
func (p *parser) escapedText(c *collector, in place) {
	escape := p.text[p.pos : p.pos+utf8.RuneLen(p.options.Escape)]
	n := 0
	for strings.HasPrefix(p.text[p.pos:], escape) {
		n++
		p.pos += len(escape)
	}
	r, size := p.peek()
	special := r == '$' || (in != plain && r == '}') || (in == replacement && r == '/')
	if size == 0 || !special {
		c.add(strings.Repeat(escape, n), false)
		return
	}
	c.add(strings.Repeat(escape, n/2), false)
	if n%2 == 1 {
		c.add(p.text[p.pos:p.pos+size], false)
		p.pos += size
	}
}

func (p *parser) singleQuoted(c *collector, in place) error {
	open := p.pos
	p.pos++
	end := strings.IndexByte(p.text[p.pos:], '\'')
	if end < 0 {
		return p.fail(open, "missing closing single quote")
	}
	s := p.text[p.pos : p.pos+end]
	p.pos += end + 1
	if in == pattern { // a quoted escape character stands for itself: the pattern's reader needs it twice
		escape := string(p.options.Escape)
		s = strings.ReplaceAll(s, escape, escape+escape)
	}
	c.add(s, true)
	return nil
}

func (p *parser) doubleQuoted(c *collector, in place) error {
	open := p.pos
	p.pos++
	raw := in == pattern || in == replacement
	for {
		r, size := p.peek()
		start := p.pos
		switch {
		case size == 0:
			return p.fail(open, "missing closing double quote")
		case r == '"':
			p.pos++
			return nil
		case r == '$':
			if err := p.dollar(c, true); err != nil {
				return err
			}
		case r == p.options.Escape:
			p.pos += size
			next, n := p.peek()
			switch {
			case n > 0 && (next == '"' || next == '$' || next == p.options.Escape):
				p.pos += n
				if raw {
					c.add(p.text[start:p.pos], true)
				} else {
					c.add(p.text[start+size:p.pos], true)
				}
			case raw:
				c.add(p.text[start:p.pos]+p.text[start:p.pos], true)
			default:
				c.add(p.text[start:p.pos], true)
			}
		default:
			p.pos += size
			c.add(p.text[start:p.pos], true)
		}
	}
}

// heredoc reads '<', and after a second one the blanks that may stand before a here-document's name: they belong to
// its word.
func (p *parser) heredoc(c *collector) {
	start := p.pos
	p.pos++
	if strings.HasPrefix(p.text[p.pos:], "<") {
		rest := strings.TrimLeft(p.text[p.pos+1:], " \t\r")
		p.pos = len(p.text) - len(rest)
	}
	c.add(p.text[start:p.pos], true)
}

// name reads a variable's name: letters, digits and '_', or digits alone, or one special parameter such as '@'.
func (p *parser) name() string {
	start := p.pos
	for {
		r, size := p.peek()
		switch {
		case size == 0:
			return p.text[start:p.pos]
		case p.pos == start && strings.ContainsRune("@*#?-$!", r):
			p.pos += size
			return p.text[start:p.pos]
		case p.pos == start && unicode.IsDigit(r):
			rest := strings.TrimLeftFunc(p.text[p.pos:], unicode.IsDigit)
			p.pos = len(p.text) - len(rest)
			return p.text[start:p.pos]
		case !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_':
			return p.text[start:p.pos]
		}
		p.pos += size
	}
}

// dollar reads what starts with '$'.
func (p *parser) dollar(c *collector, quoted bool) error {
	start := p.pos
	p.pos++
	if strings.HasPrefix(p.text[p.pos:], "{") {
		p.pos++
		s, err := p.braces(start)
		if err != nil {
			return err
		}
		c.addSub(s, quoted)
		return nil
	}
	name := p.name()
	if name == "" {
		c.add("$", quoted)
		return nil
	}
	if !p.options.docker() && !variable(name) {
		return p.fail(start, "$%s is no variable; write %c$%s for a dollar sign", name, p.options.Escape, name)
	}
	c.addSub(&substitution{offset: start, name: name}, quoted)
	return nil
}

// braces reads what follows "${".
func (p *parser) braces(start int) (*substitution, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("arg: ${…} nested deeper than %d: %w", maxDepth, ErrLimit)
	}
	defer func() { p.depth-- }()

	r, size := p.peek()
	if size > 0 && strings.ContainsRune("{}:", r) {
		return nil, p.fail(start, "no variable name after ${; write %c$ for a dollar sign", p.options.Escape)
	}
	s := &substitution{offset: start, name: p.name()}
	if !p.options.docker() && !variable(s.name) {
		return nil, p.fail(start, "no variable name after ${; write %c$ for a dollar sign", p.options.Escape)
	}
	at := p.pos
	rest := p.text[at:]
	if rest == "" {
		return nil, p.fail(at, "missing '}'")
	}
	if rest[0] == '}' {
		p.pos++
		return s, nil
	}
	for _, op := range []string{":-", ":+", ":?", "-", "+", "?", "##", "#", "%%", "%", "//", "/"} {
		if strings.HasPrefix(rest, op) {
			s.op = op
			break
		}
	}
	p.pos += len(s.op)
	var err error
	switch s.op {
	case "":
		_, size := utf8.DecodeRuneInString(rest)
		if rest[0] == ':' {
			_, n := utf8.DecodeRuneInString(rest[1:])
			size += n
		}
		return nil, p.fail(at, "unsupported modifier (%s) in ${…}; there are :- - :+ + :? ? # ## %% %%%% / and //", rest[:size])
	case "/", "//":
		if s.word, err = p.until('/', pattern); err == nil {
			s.with, err = p.until('}', replacement)
		}
	case "#", "##", "%", "%%":
		s.word, err = p.until('}', pattern)
	default:
		s.word, err = p.until('}', operand)
	}
	return s, err
}

// variable says whether name is an identifier rather than empty, a number or a special parameter.
func variable(name string) bool {
	r, _ := utf8.DecodeRuneInString(name)
	return name != "" && (r == '_' || unicode.IsLetter(r))
}
