// Package filemode reads the modes that COPY and ADD give to files: octal numbers, and
// changes in the notation of chmod(1). It agrees with BuildKit 0.34, which reads them as
// setmode(3) of BSD does. It also has the two directions between the permission bits of
// chmod(2) and package fs: [FS] and [Bits].
//
// Everything here is a pure function, safe for concurrent use.
package filemode

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Change is a mode for files, or changes of the mode that a file has.
type Change struct {
	absolute bool
	mode     uint32 // when absolute
	steps    []step
}

// step is one operator of a symbolic mode with one kind of operand.
type step struct {
	op   byte   // '+', '-', '='
	who  uint32 // the bits that may change
	perm uint32 // the bits of the operand
	from uint8  // shift of the class that is copied, plus one; 0 when perm counts
	exec bool   // the operand is X
}

// The classes of a mode. Sticky belongs to none: only an operand t reaches it.
const (
	userBits  = 0o4700
	groupBits = 0o2070
	otherBits = 0o0007
	allBits   = userBits | groupBits | otherBits
	stickyBit = 0o1000
	execBits  = 0o0111
)

// Parse reads an octal mode up to 7777 or a symbolic one: clauses with commas between
// them, each of classes (u, g, o, a, or none for all), and operators (+, -, =) with
// permissions (r, w, x, X, s, t) or classes to copy from. Its error quotes the text and
// says what to write.
func Parse(text string) (*Change, error) {
	if text != "" && text[0] >= '0' && text[0] <= '9' {
		mode, err := strconv.ParseUint(text, 8, 32)
		if err != nil || mode > 0o7777 {
			return nil, fmt.Errorf("mode %q; want an octal number up to 7777, or a symbolic mode such as u+rwX,go-w", text)
		}
		return &Change{absolute: true, mode: uint32(mode)}, nil
	}
	c := &Change{}
	for clause := range strings.SplitSeq(text, ",") {
		if !c.clause(clause) {
			return nil, fmt.Errorf("mode %q: %q is no symbolic mode; want one such as u+rwX,go-w, or an octal number up to 7777", text, clause)
		}
	}
	return c, nil
}

// clause reads classes and the operators that follow them.
func (c *Change) clause(s string) bool {
	var who uint32
	for ; s != "" && strings.IndexByte("ugoa", s[0]) >= 0; s = s[1:] {
		who |= map[byte]uint32{'u': userBits, 'g': groupBits, 'o': otherBits, 'a': allBits}[s[0]]
	}
	if s == "" {
		return false
	}
	for s != "" {
		op := s[0]
		if strings.IndexByte("+-=", op) < 0 {
			return false
		}
		end := strings.IndexAny(s[1:], "+-=") + 1
		if end == 0 {
			end = len(s)
		}
		if !c.operands(op, who, s[1:end]) {
			return false
		}
		s = s[end:]
	}
	return true
}

// operands reads what follows one operator. As in setmode(3) of BSD, an operand t makes
// sticky one of the classes, which are then no longer all.
func (c *Change) operands(op byte, who uint32, s string) bool {
	var perm uint32
	exec, cleared := false, op != '='
	emit := func(last bool) {
		bits, clear := who, who
		if who == 0 {
			bits, clear = 0o7777, allBits
		}
		if perm != 0 || last && !cleared {
			sign := op
			if op == '=' {
				c.steps = append(c.steps, step{op: '-', who: clear, perm: 0o7777})
				sign = '+'
			}
			c.steps = append(c.steps, step{op: sign, who: bits, perm: perm})
		}
		if exec {
			c.steps = append(c.steps, step{op: '+', who: bits, exec: true})
		}
		perm, exec = 0, false
	}
	notOther := who == 0 || who&^otherBits != 0
	for _, p := range []byte(s) {
		switch p {
		case 'r':
			perm |= 0o444
		case 'w':
			perm |= 0o222
		case 'x':
			perm |= execBits
		case 'X':
			if op == '-' {
				perm |= execBits
			} else {
				exec = true
			}
		case 's':
			if notOther {
				perm |= 0o6000
			}
		case 't':
			if notOther {
				perm |= stickyBit
				who |= stickyBit
			}
		case 'u', 'g', 'o':
			emit(false)
			cleared = true
			bits := who
			if who == 0 {
				bits = allBits
			}
			c.steps = append(c.steps, step{op: op, who: bits & 0o777, from: map[byte]uint8{'u': 7, 'g': 4, 'o': 1}[p]})
		default:
			return false
		}
	}
	emit(true)
	return true
}

// Absolute returns the mode that all files get, whatever they had; false when there are
// changes instead.
func (c *Change) Absolute() (mode uint32, ok bool) { return c.mode, c.absolute }

// Of returns the mode, at most 07777, that a file or directory with the given mode gets.
func (c *Change) Of(mode uint32, dir bool) uint32 {
	if c.absolute {
		return c.mode
	}
	was := mode
	for _, s := range c.steps {
		perm := s.perm
		switch {
		case s.from != 0:
			class := mode >> (s.from - 1) & 7
			perm = class<<6 | class<<3 | class
			if s.op == '=' {
				mode &^= s.who
			}
		case s.exec:
			if was&execBits == 0 && !dir {
				continue
			}
			perm = execBits
		}
		if s.op == '-' {
			mode &^= perm & s.who
		} else {
			mode |= perm & s.who
		}
	}
	return mode
}

// special are the bits that package fs has elsewhere than chmod(2).
func special() [3]struct {
	bit  uint32
	mode fs.FileMode
} {
	return [3]struct {
		bit  uint32
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}
}

// FS spells the permission bits of chmod(2), with setuid, setgid and sticky, as package fs
// does. Other bits are left out.
func FS(bits uint32) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	for _, s := range special() {
		if bits&s.bit != 0 {
			m |= s.mode
		}
	}
	return m
}

// Bits is the reverse of FS. The kind of the file is left out.
func Bits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for _, s := range special() {
		if m&s.mode != 0 {
			bits |= s.bit
		}
	}
	return bits
}
