package main

import (
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// chmod is ours because u-root's knows no set-user-ID, set-group-ID and sticky bits.
func chmod(p *proc, args []string) error {
	// "-x" and the like are modes: POSIX has them as the first operand, and no option is called so.
	for i, arg := range args {
		if len(arg) > 1 && arg[0] == '-' && strings.Trim(arg[1:], "rwxXst") == "" {
			args = append(append(append([]string{}, args[:i]...), "--", "a"+arg), args[i+1:]...)
			break
		}
		if arg == "--" || !strings.HasPrefix(arg, "-") {
			break
		}
	}
	o, names, err := parse("R/recursive f/silent/quiet v/verbose c/changes", args)
	if err != nil {
		return err
	}
	if len(names) < 2 {
		return usagef("missing operand")
	}
	change, err := parseMode(names[0])
	if err != nil {
		return err
	}
	apply := func(path string, link bool) {
		if link {
			return // of a link below an operand nothing is changed
		}
		var st syscall.Stat_t
		err := syscall.Stat(path, &st)
		if err == nil {
			err = syscall.Chmod(path, change(st.Mode&0o7777, st.Mode&syscall.S_IFMT == syscall.S_IFDIR))
		}
		if err != nil && !o.has("f") {
			p.warn(&fs.PathError{Op: "chmod", Path: path, Err: err})
		}
	}
	for _, name := range names[1:] {
		if !o.has("R") {
			apply(name, false)
			continue
		}
		var dirs []string
		err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				p.warn(err)
			case d.IsDir():
				dirs = append(dirs, path)
			default:
				apply(path, d.Type() == fs.ModeSymlink && path != name)
			}
			return nil
		})
		if err != nil {
			p.warn(err)
		}
		// A directory last, so that losing permissions on it hides nothing.
		for i := len(dirs) - 1; i >= 0; i-- {
			apply(dirs[i], false)
		}
	}
	return nil
}

// parseMode reads a mode, octal or symbolic, as a function of the mode that a file has.
func parseMode(text string) (func(mode uint32, dir bool) uint32, error) {
	if n, err := strconv.ParseUint(text, 8, 32); err == nil {
		if n > 0o7777 {
			return nil, usagef("invalid mode '%s'", text)
		}
		return func(old uint32, dir bool) uint32 {
			if dir && len(text) < 5 {
				return uint32(n) | old&0o6000 // a directory keeps these unless five digits say otherwise, as in GNU
			}
			return uint32(n)
		}, nil
	}
	mask := uint32(syscall.Umask(0))
	syscall.Umask(int(mask))
	clauses := strings.Split(text, ",")
	for _, c := range clauses {
		if _, ok := clause(c, 0, false, mask); !ok {
			return nil, usagef("invalid mode '%s'", text)
		}
	}
	return func(mode uint32, dir bool) uint32 {
		for _, c := range clauses {
			mode, _ = clause(c, mode, dir, mask)
		}
		return mode
	}, nil
}

// clause applies one clause of a symbolic mode: who, then operators with permissions or with one letter to copy from.
func clause(text string, mode uint32, dir bool, mask uint32) (uint32, bool) {
	n := strings.IndexAny(text, "+-=")
	if n < 0 || strings.Trim(text[:n], "ugoa") != "" {
		return 0, false
	}
	var who uint32
	for _, c := range text[:n] {
		who |= map[rune]uint32{'u': 0o4700, 'g': 0o2070, 'o': 0o1007, 'a': 0o7777}[c]
	}
	allowed := who
	if who == 0 {
		who, allowed = 0o7777, 0o7777&^mask
	}
	for text = text[n:]; text != ""; {
		op := text[0]
		end := strings.IndexAny(text[1:], "+-=") + 1
		if end == 0 {
			end = len(text)
		}
		bits, ok := permissions(text[1:end], mode, dir)
		if !ok {
			return 0, false
		}
		text = text[end:]
		bits &= allowed | 0o1000 // the sticky bit belongs to everybody
		switch op {
		case '+':
			mode |= bits
		case '-':
			mode &^= bits
		case '=':
			keep := uint32(0)
			if dir {
				keep = mode & 0o6000
			}
			mode = mode&^who | bits | keep
		}
	}
	return mode, true
}

func permissions(letters string, mode uint32, dir bool) (uint32, bool) {
	if len(letters) == 1 && strings.Contains("ugo", letters) {
		three := mode >> map[string]uint{"u": 6, "g": 3, "o": 0}[letters] & 7
		return three<<6 | three<<3 | three, true
	}
	var bits uint32
	for _, c := range letters {
		switch c {
		case 'r':
			bits |= 0o444
		case 'w':
			bits |= 0o222
		case 'x':
			bits |= 0o111
		case 'X':
			if dir || mode&0o111 != 0 {
				bits |= 0o111
			}
		case 's':
			bits |= 0o6000
		case 't':
			bits |= 0o1000
		default:
			return 0, false
		}
	}
	return bits, true
}
