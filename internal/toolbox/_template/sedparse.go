package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// sedScript is a parsed script. Blocks are flat: `{` knows the index of its `}`.
type sedScript struct {
	commands []*sedCommand
	quiet    bool // the script starts with #n
	status   int  // of q and Q
}

type sedCommand struct {
	name        byte
	from, to    *sedAddress
	negate      bool
	end         int // the last line of a range whose second address is relative
	text        []byte
	label       string
	jump        int
	status      int
	re          *regexp.Regexp
	replacement sedReplacement
	nth         int
	global      bool
	print       bool
	file        string
	table       map[rune]rune
}

type sedAddress struct {
	line     int
	step     int // of first~step
	last     bool
	relative bool // +n
	re       *regexp.Regexp
}

// sedParser reads a script. An empty regular expression, which POSIX makes the last one used, is the last one written here.
type sedParser struct {
	s        string
	extended bool
	lastRE   *regexp.Regexp
}

func parseSed(text string, extended bool) (*sedScript, error) {
	p := &sedParser{s: text, extended: extended}
	script := &sedScript{}
	if strings.HasPrefix(text, "#n\n") {
		script.quiet = true
	}
	var open []int
	labels := map[string]int{}
	for {
		p.s = strings.TrimLeft(p.s, " \t\n;")
		if p.s == "" {
			break
		}
		if p.s[0] == '#' {
			_, p.s, _ = strings.Cut(p.s, "\n")
			continue
		}
		c, err := p.command()
		if err != nil {
			return nil, err
		}
		at := len(script.commands)
		script.commands = append(script.commands, c)
		switch c.name {
		case '{':
			open = append(open, at)
		case '}':
			if len(open) == 0 {
				return nil, usagef("unexpected `}'")
			}
			script.commands[open[len(open)-1]].jump = at
			open = open[:len(open)-1]
		case ':':
			labels[c.label] = at
		}
	}
	if len(open) > 0 {
		return nil, usagef("unmatched `{'")
	}
	for _, c := range script.commands {
		if c.name != 'b' && c.name != 't' {
			continue
		}
		c.jump = len(script.commands)
		if c.label != "" {
			at, ok := labels[c.label]
			if !ok {
				return nil, usagef("can't find label for jump to `%s'", c.label)
			}
			c.jump = at
		}
	}
	return script, nil
}

func (p *sedParser) command() (*sedCommand, error) {
	c := &sedCommand{nth: 1}
	var err error
	if c.from, err = p.address(); err != nil {
		return nil, err
	}
	p.blanks()
	if c.from != nil && strings.HasPrefix(p.s, ",") {
		p.s = p.s[1:]
		p.blanks()
		if c.to, err = p.address(); err != nil {
			return nil, err
		}
		if c.to == nil {
			return nil, usagef("unexpected `,'")
		}
	}
	p.blanks()
	for strings.HasPrefix(p.s, "!") {
		c.negate = true
		p.s = p.s[1:]
		p.blanks()
	}
	if p.s == "" {
		return nil, usagef("missing command")
	}
	c.name, p.s = p.s[0], p.s[1:]
	switch c.name {
	case '{', '}':
		return c, nil
	case '=', 'd', 'D', 'g', 'G', 'h', 'H', 'n', 'N', 'p', 'P', 'x':
		return c, p.endOfCommand(c.name)
	case 'a', 'i', 'c':
		c.text = p.text()
		return c, nil
	case ':', 'b', 't':
		word := p.s
		if i := strings.IndexAny(word, "\n;}"); i >= 0 {
			word = word[:i]
		}
		p.s = p.s[len(word):]
		c.label = strings.TrimSpace(word)
		return c, nil
	case 'r':
		line, rest, _ := strings.Cut(p.s, "\n")
		c.text, p.s = []byte(strings.TrimSpace(line)), rest
		return c, nil
	case 'q', 'Q':
		p.blanks()
		c.status, _ = p.number()
		return c, p.endOfCommand(c.name)
	case 's':
		return c, p.substitution(c)
	case 'y':
		return c, p.transliteration(c)
	}
	return nil, usagef("unknown or unsupported command: `%c'", c.name)
}

func (p *sedParser) blanks() { p.s = strings.TrimLeft(p.s, " \t") }

func (p *sedParser) endOfCommand(name byte) error {
	p.blanks()
	if p.s == "" || strings.IndexByte(";\n}#", p.s[0]) >= 0 {
		return nil
	}
	return usagef("extra characters after command `%c': %q", name, firstLine(p.s))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (p *sedParser) number() (int, bool) {
	digits := p.s[:len(p.s)-len(strings.TrimLeft(p.s, "0123456789"))]
	p.s = p.s[len(digits):]
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

func (p *sedParser) address() (*sedAddress, error) {
	if p.s == "" {
		return nil, nil
	}
	switch c := p.s[0]; {
	case c == '$':
		p.s = p.s[1:]
		return &sedAddress{last: true}, nil
	case c == '+':
		p.s = p.s[1:]
		n, ok := p.number()
		if !ok {
			return nil, usagef("a number must follow `+'")
		}
		return &sedAddress{line: n, relative: true}, nil
	case '0' <= c && c <= '9':
		n, ok := p.number()
		if !ok {
			return nil, usagef("invalid line number")
		}
		a := &sedAddress{line: n}
		if strings.HasPrefix(p.s, "~") {
			p.s = p.s[1:]
			a.step, _ = p.number()
		}
		return a, nil
	case c == '/' || c == '\\' && len(p.s) > 1:
		if c == '\\' {
			p.s = p.s[1:]
		}
		pattern, err := p.delimited(p.s[0], true)
		if err != nil {
			return nil, err
		}
		ignoreCase := strings.HasPrefix(p.s, "I")
		if ignoreCase {
			p.s = p.s[1:]
		}
		re, err := p.regexp(pattern, ignoreCase)
		return &sedAddress{re: re}, err
	}
	return nil, nil
}

func (p *sedParser) regexp(pattern string, ignoreCase bool) (*regexp.Regexp, error) {
	if pattern == "" {
		if p.lastRE == nil {
			return nil, usagef("no previous regular expression")
		}
		return p.lastRE, nil
	}
	re, err := compileRegexp(pattern, p.extended, ignoreCase)
	if err != nil {
		return nil, &usageError{err.Error()}
	}
	p.lastRE = re
	return re, nil
}

// delimited reads up to the next delimiter, p.s starting with the first. An escaped delimiter stands for itself; in a pattern, one
// inside brackets does too.
func (p *sedParser) delimited(delim byte, pattern bool) (string, error) {
	var out strings.Builder
	for i := 1; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == delim:
			p.s = p.s[i+1:]
			return out.String(), nil
		case c == '\\' && i+1 < len(p.s):
			i++
			if p.s[i] != delim {
				out.WriteByte('\\')
			} else if pattern && p.special(delim) {
				out.WriteByte('\\')
			}
			out.WriteByte(p.s[i])
		case c == '[' && pattern:
			_, n, err := bracket(p.s[i:])
			if err != nil {
				return "", &usageError{err.Error()}
			}
			out.WriteString(p.s[i : i+n])
			i += n - 1
		default:
			out.WriteByte(c)
		}
	}
	return "", usagef("unterminated `s', `y' or address: no closing `%c'", delim)
}

// special reports whether c unescaped means more than itself in a pattern: in a basic one, a backslash is what gives some their meaning.
func (p *sedParser) special(c byte) bool {
	return strings.IndexByte(".*[]^$", c) >= 0 || p.extended && strings.IndexByte("+?(){}|", c) >= 0
}

func (p *sedParser) substitution(c *sedCommand) error {
	if p.s == "" || p.s[0] == '\n' || p.s[0] == '\\' {
		return usagef("unterminated `s' command")
	}
	delim := p.s[0]
	pattern, err := p.delimited(delim, true)
	if err != nil {
		return err
	}
	p.s = string(delim) + p.s
	right, err := p.delimited(delim, false)
	if err != nil {
		return err
	}
	ignoreCase := false
flags:
	for p.s != "" {
		switch f := p.s[0]; {
		case f == 'g':
			c.global = true
		case f == 'p':
			c.print = true
		case f == 'i' || f == 'I':
			ignoreCase = true
		case '1' <= f && f <= '9':
			c.nth, _ = p.number()
			continue
		case f == 'w':
			line, rest, _ := strings.Cut(p.s[1:], "\n")
			c.file, p.s = strings.TrimSpace(line), rest
			break flags
		default:
			if err := p.endOfCommand('s'); err != nil {
				return err
			}
			break flags
		}
		p.s = p.s[1:]
	}
	if c.re, err = p.regexp(pattern, ignoreCase); err != nil {
		return err
	}
	c.replacement, err = parseReplacement(right, c.re.NumSubexp())
	return err
}

func parseReplacement(s string, groups int) (sedReplacement, error) {
	var parts sedReplacement
	var text []byte
	put := func(part sedPart) {
		if len(text) > 0 {
			parts = append(parts, sedPart{text: text, group: -1})
			text = nil
		}
		parts = append(parts, part)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '&':
			put(sedPart{})
		case c != '\\' || i+1 == len(s):
			text = append(text, c)
		default:
			i++
			switch e := s[i]; {
			case '0' <= e && e <= '9':
				if int(e-'0') > groups {
					return nil, usagef("invalid reference \\%c on `s' command's RHS", e)
				}
				put(sedPart{group: int(e - '0')})
			case strings.IndexByte("ULulE", e) >= 0:
				put(sedPart{group: -1, fold: e})
			default:
				text = append(text, unescape(e))
			}
		}
	}
	if len(text) > 0 {
		parts = append(parts, sedPart{text: text, group: -1})
	}
	return parts, nil
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'r':
		return '\r'
	}
	return c
}

func (p *sedParser) transliteration(c *sedCommand) error {
	if p.s == "" {
		return usagef("unterminated `y' command")
	}
	delim := p.s[0]
	from, err := p.delimited(delim, false)
	if err != nil {
		return err
	}
	p.s = string(delim) + p.s
	to, err := p.delimited(delim, false)
	if err != nil {
		return err
	}
	a, b := unescapeAll(from), unescapeAll(to)
	if len(a) != len(b) {
		return usagef("strings for `y' command are different lengths")
	}
	c.table = map[rune]rune{}
	for i, r := range a {
		if _, ok := c.table[r]; !ok {
			c.table[r] = b[i]
		}
	}
	return p.endOfCommand('y')
}

func unescapeAll(s string) []rune {
	var out []rune
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		if r := runes[i]; r == '\\' && i+1 < len(runes) && runes[i+1] < 0x80 {
			i++
			out = append(out, rune(unescape(byte(runes[i]))))
			continue
		}
		out = append(out, runes[i])
	}
	return out
}

// text reads the argument of a, i and c: `a\` and lines that end in a backslash, or GNU's `a text` on the same line.
func (p *sedParser) text() []byte {
	p.blanks()
	if strings.HasPrefix(p.s, "\\") {
		rest := strings.TrimLeft(p.s[1:], " \t")
		if strings.HasPrefix(rest, "\n") {
			p.s = rest[1:]
		} else {
			p.s = p.s[1:] // a\text keeps text's leading blanks
		}
	}
	var out []byte
	i := 0
	for ; i < len(p.s) && p.s[i] != '\n'; i++ {
		if p.s[i] == '\\' && i+1 < len(p.s) {
			i++
			if p.s[i] == 't' {
				out = append(out, '\t')
				continue
			}
		}
		out = append(out, p.s[i])
	}
	p.s = p.s[min(i, len(p.s)):]
	return fmt.Appendf(nil, "%s\n", out)
}
