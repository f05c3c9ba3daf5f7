package main

import (
	"bytes"
	"os"
)

// selects reports whether c's addresses choose the current line.
func (s *sedRun) selects(c *sedCommand, in *sedInput) bool {
	chosen := true
	switch {
	case c.to != nil:
		chosen = s.inRange(c, in)
	case c.from != nil:
		chosen = s.matches(c.from, in)
	}
	return chosen != c.negate
}

func (s *sedRun) matches(a *sedAddress, in *sedInput) bool {
	switch {
	case a.last:
		return in.last()
	case a.re != nil:
		return a.re.Match(s.space)
	case a.step > 0:
		return s.number >= a.line && (s.number-a.line)%a.step == 0
	}
	return s.number == a.line
}

// inRange keeps the state of a two-address command. A second address that is a line number at or before the first selects one line.
func (s *sedRun) inRange(c *sedCommand, in *sedInput) bool {
	if s.active[c] {
		if c.to.re == nil && !c.to.last && !c.to.relative && s.number > c.to.line {
			s.active[c] = false
			return s.begins(c, in)
		}
		if c.to.relative {
			s.active[c] = s.number < c.end
		} else if c.to.re != nil || c.to.last {
			s.active[c] = !s.matches(c.to, in)
		} else {
			s.active[c] = s.number < c.to.line
		}
		return true
	}
	return s.begins(c, in)
}

func (s *sedRun) begins(c *sedCommand, in *sedInput) bool {
	// 0,/re/ is GNU's: the range is open before the first line, which may end it.
	if c.from.line == 0 && c.from.re == nil && !c.from.last && c.from.step == 0 {
		if s.number == 1 {
			s.active[c] = !s.matches(c.to, in)
			return true
		}
		return false
	}
	if !s.matches(c.from, in) {
		return false
	}
	switch {
	case c.to.relative:
		c.end = s.number + c.to.line
		s.active[c] = c.to.line > 0
	case c.to.re != nil:
		s.active[c] = true
	case c.to.last:
		s.active[c] = !in.last()
	default:
		s.active[c] = s.number < c.to.line
	}
	return true
}

// commands runs the script; it reports whether the pattern space is printed at the end.
func (s *sedRun) commands(in *sedInput) (printed bool, err error) {
	substituted := false
	list := s.script.commands
	for i := 0; i < len(list); i++ {
		c := list[i]
		if c.name == '}' || c.name == ':' {
			continue
		}
		if !s.selects(c, in) {
			if c.name == '{' {
				i = c.jump
			}
			continue
		}
		switch c.name {
		case 'b':
			i = c.jump
		case 't':
			if substituted {
				substituted = false
				i = c.jump
			}
		case 'd':
			return false, nil
		case 'D':
			if _, rest, found := bytes.Cut(s.space, []byte("\n")); found {
				// The cycle starts anew without reading a line.
				s.space = append([]byte(nil), rest...)
				i = -1
				continue
			}
			return false, nil
		case 'n':
			if in.last() {
				s.quit = true
				return true, nil
			}
			if !s.quiet {
				s.print(s.space, false)
			}
			s.space = s.space[:0]
			s.readMore(in)
		case 'N':
			if in.last() {
				s.quit = true
				return true, nil
			}
			s.space = append(s.space, '\n')
			s.readMore(in)
		case 'c':
			if c.to == nil || c.negate || !s.active[c] {
				s.out.Write(c.text)
			}
			return false, nil
		case 'q', 'Q':
			s.quit = true
			s.script.status = c.status
			return c.name == 'q', nil
		case 's':
			changed, err := s.substitute(c, in)
			if err != nil {
				return false, err
			}
			substituted = substituted || changed
		default:
			s.simple(c, in)
		}
	}
	return true, nil
}

func (s *sedRun) readMore(in *sedInput) {
	if line, ok, _ := in.next(); ok {
		s.space = append(s.space, line...)
		s.number++
	}
}

// simple are the commands that change no control flow.
func (s *sedRun) simple(c *sedCommand, in *sedInput) {
	switch c.name {
	case 'p':
		s.print(s.space, false)
	case 'P':
		line, _, _ := bytes.Cut(s.space, []byte("\n"))
		s.print(line, false)
	case '=':
		s.out.Write(sedNumber(s.number))
	case 'a':
		if in.unterminated && in.last() {
			in.unterminated = false
		}
		s.queue = append(s.queue, c.text)
	case 'i':
		s.out.Write(c.text)
	case 'r':
		if data, err := os.ReadFile(string(c.text)); err == nil {
			s.queue = append(s.queue, data)
		}
	case 'y':
		s.space = bytes.Map(func(r rune) rune {
			if to, ok := c.table[r]; ok {
				return to
			}
			return r
		}, s.space)
	case 'h':
		s.hold = append(s.hold[:0], s.space...)
	case 'H':
		s.hold = append(append(s.hold, '\n'), s.space...)
	case 'g':
		s.space = append(s.space[:0], s.hold...)
	case 'G':
		s.space = append(append(s.space, '\n'), s.hold...)
	case 'x':
		s.space, s.hold = s.hold, s.space
	}
}

// substitute is the s command: from the c.nth match on, one or all of them.
func (s *sedRun) substitute(c *sedCommand, in *sedInput) (bool, error) {
	var out []byte
	done, changed := 0, false
	for i, m := range c.re.FindAllSubmatchIndex(s.space, -1) {
		if i+1 < c.nth || changed && !c.global {
			continue
		}
		out = append(out, s.space[done:m[0]]...)
		out = c.replacement.expand(out, s.space, m)
		done = m[1]
		changed = true
	}
	if !changed {
		return false, nil
	}
	s.space = append(out, s.space[done:]...)
	if c.print {
		s.print(s.space, false)
	}
	if c.file != "" {
		return true, appendTo(c.file, s.space)
	}
	return true, nil
}

func appendTo(name string, line []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(append(bytes.Clone(line), '\n'))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// sedReplacement is the right side of s: text and groups in turn.
type sedReplacement []sedPart

// sedPart is literal text, or with group >= 0 what that group matched; the case letter is one of GNU's \U, \L, \u, \l, \E.
type sedPart struct {
	text  []byte
	group int
	fold  byte
}

func (r sedReplacement) expand(out, src []byte, m []int) []byte {
	var mode, once byte
	put := func(text []byte) {
		switch mode {
		case 'U':
			text = bytes.ToUpper(text)
		case 'L':
			text = bytes.ToLower(text)
		}
		if once != 0 && len(text) > 0 {
			head := bytes.ToUpper(text[:1])
			if once == 'l' {
				head = bytes.ToLower(text[:1])
			}
			out = append(out, head...)
			text, once = text[1:], 0
		}
		out = append(out, text...)
	}
	for _, part := range r {
		switch {
		case part.fold == 'u' || part.fold == 'l':
			once = part.fold
		case part.fold == 'E':
			mode = 0
		case part.fold != 0:
			mode = part.fold
		case part.group < 0:
			put(part.text)
		case m[2*part.group] >= 0:
			put(src[m[2*part.group]:m[2*part.group+1]])
		}
	}
	return out
}
