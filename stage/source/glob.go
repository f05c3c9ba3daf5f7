package source

import "strings"

// glob is a pattern of git (gitignore(5); wildmatch in git's documentation of
// gitglossary) as the states of an automaton, which a text goes through once: time is
// bounded by the product of the two lengths, whatever the pattern is.
type glob struct {
	literal string // the pattern, when steps is nil
	steps   []globStep
}

// globStep is what one state takes.
type globStep struct {
	kind globKind
	char byte
	set  *[256]bool
	skip int // for globDirs: how many steps further the pattern goes on when it matches nothing
}

type globKind uint8

const (
	globChar  globKind = iota // char
	globSet                   // one of set
	globStar                  // any number of bytes but slashes
	globAll                   // any number of bytes
	globDirs                  // "**/": as globAll, or it and the slash are not there
	globNever                 // nothing: the pattern is malformed
)

// globSpecial are the bytes that are not themselves in a pattern.
const globSpecial = `*?[\`

// compileGlob reads a pattern. With paths a wildcard stops at a slash, and "**" has its
// meaning between slashes.
func compileGlob(pattern string, paths bool) glob {
	if !strings.ContainsAny(pattern, globSpecial) {
		return glob{literal: pattern}
	}
	c := globCompiler{pattern: pattern, paths: paths}
	for c.at < len(pattern) {
		c.step()
	}
	return glob{steps: c.steps}
}

type globCompiler struct {
	pattern string
	paths   bool
	at      int
	steps   []globStep
}

func (c *globCompiler) add(s globStep) { c.steps = append(c.steps, s) }

// peek is the byte n after the current one, 0 behind the end.
func (c *globCompiler) peek(n int) byte {
	if c.at+n < len(c.pattern) {
		return c.pattern[c.at+n]
	}
	return 0
}

// step compiles what begins at the current byte.
func (c *globCompiler) step() {
	switch ch := c.pattern[c.at]; ch {
	case '\\':
		c.at++
		if c.at == len(c.pattern) {
			c.add(globStep{kind: globNever})
			return
		}
		c.add(globStep{kind: globChar, char: c.pattern[c.at]})
		c.at++
	case '?':
		c.at++
		c.add(globStep{kind: globSet, set: c.all()})
	case '*':
		c.stars()
	case '[':
		c.set()
	default:
		c.at++
		c.add(globStep{kind: globChar, char: ch})
	}
}

// all is the set of every byte that a wildcard takes.
func (c *globCompiler) all() *[256]bool {
	var set [256]bool
	for i := range set {
		set[i] = !c.paths || i != '/'
	}
	return &set
}

// stars compiles one or more asterisks.
func (c *globCompiler) stars() {
	begin := c.at
	for c.peek(0) == '*' {
		c.at++
	}
	if !c.paths {
		c.add(globStep{kind: globAll})
		return
	}
	after := c.peek(0)
	// git takes what stands before the first wildcard off, so that "a**/b" is "a" and "**/b".
	first := begin == strings.IndexAny(c.pattern, globSpecial)
	whole := (first || c.pattern[begin-1] == '/') && (after == 0 || after == '/' || after == '\\' && c.peek(1) == '/')
	switch {
	case c.at-begin == 1 || !whole:
		c.add(globStep{kind: globStar})
	case after == '/':
		c.add(globStep{kind: globDirs, skip: 2})
	default:
		c.add(globStep{kind: globAll})
	}
}

// set compiles a class in brackets. One that is not closed, or names an unknown class,
// makes a pattern that matches nothing.
func (c *globCompiler) set() {
	var set [256]bool
	c.at++
	negated := c.peek(0) == '!' || c.peek(0) == '^'
	if negated {
		c.at++
	}
	var last byte // the beginning of a range, 0 when there can be none
	for first := true; first || c.peek(0) != ']'; first = false {
		ch := c.peek(0)
		ok := ch != 0
		switch {
		case !ok:
		case ch == '\\':
			c.at++
			if ch = c.peek(0); ch == 0 {
				ok = false
				break
			}
			set[ch], last = true, ch
		case ch == '-' && last != 0 && c.peek(1) != 0 && c.peek(1) != ']':
			c.at++
			to := c.peek(0)
			if to == '\\' {
				c.at++
				to = c.peek(0)
			}
			if ok = to != 0; ok {
				for b := int(last); b <= int(to); b++ {
					set[b] = true
				}
			}
			last = 0
		case ch == '[' && c.peek(1) == ':':
			var named bool
			named, ok = c.named(&set)
			last = 0
			if !named {
				set['['], last = true, '['
			}
		default:
			set[ch], last = true, ch
		}
		if !ok {
			c.at = len(c.pattern)
			c.add(globStep{kind: globNever})
			return
		}
		c.at++
	}
	c.at++
	for i := range set {
		set[i] = set[i] != negated && (!c.paths || i != '/')
	}
	c.add(globStep{kind: globSet, set: &set})
}

// named adds a class such as "[:alpha:]", and leaves the current byte at its end. It is
// none when no ":]" closes it.
func (c *globCompiler) named(set *[256]bool) (named, ok bool) {
	rest := c.pattern[c.at+2:]
	end := strings.IndexByte(rest, ']')
	if end < 0 {
		return true, false
	}
	if end == 0 || rest[end-1] != ':' {
		return false, true
	}
	in := classes(rest[:end-1])
	if in == nil {
		return true, false
	}
	for b := range 128 {
		if in(byte(b)) {
			set[b] = true
		}
	}
	c.at += 2 + end
	return true, true
}

// classes are those of POSIX in the C locale, nil for an unknown name.
func classes(name string) func(byte) bool {
	between := func(b, from, to byte) bool { return from <= b && b <= to }
	lower := func(b byte) bool { return between(b, 'a', 'z') }
	upper := func(b byte) bool { return between(b, 'A', 'Z') }
	digit := func(b byte) bool { return between(b, '0', '9') }
	alnum := func(b byte) bool { return lower(b) || upper(b) || digit(b) }
	graph := func(b byte) bool { return between(b, '!', '~') }
	switch name {
	case "alnum":
		return alnum
	case "alpha":
		return func(b byte) bool { return lower(b) || upper(b) }
	case "blank":
		return func(b byte) bool { return b == ' ' || b == '\t' }
	case "cntrl":
		return func(b byte) bool { return b < ' ' || b == 0x7f }
	case "digit":
		return digit
	case "graph":
		return graph
	case "lower":
		return lower
	case "print":
		return func(b byte) bool { return b == ' ' || graph(b) }
	case "punct":
		return func(b byte) bool { return graph(b) && !alnum(b) }
	case "space":
		return func(b byte) bool { return b == ' ' || between(b, '\t', '\r') }
	case "upper":
		return upper
	case "xdigit":
		return func(b byte) bool { return digit(b) || between(b, 'a', 'f') || between(b, 'A', 'F') }
	}
	return nil
}

// match reports whether the pattern matches the whole text.
func (g *glob) match(text string) bool {
	if g.steps == nil {
		return g.literal != "" && text == g.literal
	}
	now := make([]bool, len(g.steps)+1)
	next := make([]bool, len(g.steps)+1)
	g.reach(now, 0)
	for i := range len(text) {
		any := false
		clear(next)
		for at, on := range now[:len(g.steps)] {
			if !on {
				continue
			}
			s := &g.steps[at]
			switch s.kind {
			case globChar:
				if text[i] == s.char {
					g.reach(next, at+1)
					any = true
				}
			case globSet:
				if s.set[text[i]] {
					g.reach(next, at+1)
					any = true
				}
			case globStar:
				if text[i] != '/' {
					g.reach(next, at)
					any = true
				}
			case globAll:
				g.reach(next, at)
				any = true
			case globDirs:
				// It has begun: it ends before a slash, and cannot be skipped any more.
				next[at+1], next[at] = true, true
				any = true
			}
		}
		if !any {
			return false
		}
		now, next = next, now
	}
	return now[len(g.steps)]
}

// reach marks a state, and those that follow without a byte.
func (g *glob) reach(states []bool, at int) {
	for {
		states[at] = true
		if at == len(g.steps) {
			return
		}
		switch s := &g.steps[at]; s.kind {
		case globStar, globAll:
			at++
		case globDirs:
			g.reach(states, at+s.skip)
			at++
		default:
			return
		}
	}
}
