package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func basename(p *proc, args []string) error {
	o, names, err := parse("+ a/multiple s/suffix:", args)
	if err != nil {
		return err
	}
	suffix := o.value("s", "")
	switch {
	case len(names) == 0:
		return usagef("missing operand")
	case len(names) > 1 && !o.has("a") && !o.has("s"):
		if len(names) > 2 {
			return usagef("extra operand '%s'", names[2])
		}
		suffix, names = names[1], names[:1]
	}
	for _, name := range names {
		base := name
		if name != "" {
			base = filepath.Base(name)
		}
		if base != suffix {
			base = strings.TrimSuffix(base, suffix)
		}
		fmt.Fprintln(p.out, base)
	}
	return nil
}

func dirname(p *proc, args []string) error {
	_, names, err := parse("+", args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return usagef("missing operand")
	}
	for _, name := range names {
		trimmed := strings.TrimRight(name, "/")
		if trimmed == "" && name != "" {
			fmt.Fprintln(p.out, "/")
			continue
		}
		dir := "."
		if i := strings.LastIndexByte(trimmed, '/'); i >= 0 {
			if dir = strings.TrimRight(trimmed[:i], "/"); dir == "" {
				dir = "/"
			}
		}
		fmt.Fprintln(p.out, dir)
	}
	return nil
}

func readlink(p *proc, args []string) error {
	o, names, err := parse("f/canonicalize e/canonicalize-existing m n/no-newline q s v", args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return usagef("missing operand")
	}
	for _, name := range names {
		target, err := os.Readlink(name)
		if o.has("f") || o.has("e") {
			target, err = canonical(name, !o.has("e"))
		}
		switch {
		case err != nil && o.has("v"):
			p.warn(err)
		case err != nil:
			p.failed = true // silent, as readlink is
		case o.has("n") && len(names) == 1:
			p.out.WriteString(target)
		default:
			fmt.Fprintln(p.out, target)
		}
	}
	return nil
}

func realpath(p *proc, args []string) error {
	o, names, err := parse("e/canonicalize-existing m s q z", args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return usagef("missing operand")
	}
	for _, name := range names {
		path, err := canonical(name, !o.has("e"))
		if err != nil {
			p.warn(err)
			continue
		}
		fmt.Fprintln(p.out, path)
	}
	return nil
}

// canonical resolves every link; the last element may be missing when missingLast is set.
func canonical(name string, missingLast bool) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	path, err := filepath.EvalSymlinks(abs)
	if err == nil || !missingLast || !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	// A link to nothing names what it points at.
	if target, lerr := os.Readlink(abs); lerr == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(abs), target)
		}
		abs = target
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(abs)), nil
}

func which(p *proc, args []string) error {
	o, names, err := parse("a s", args)
	if err != nil {
		return err
	}
	for _, name := range names {
		found := false
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			path := filepath.Join(dir, name)
			if strings.Contains(name, "/") {
				path = name
			}
			fi, err := os.Stat(path)
			if err != nil || fi.IsDir() || fi.Mode()&0o111 == 0 {
				continue
			}
			found = true
			if !o.has("s") {
				fmt.Fprintln(p.out, path)
			}
			if !o.has("a") || path == name {
				break
			}
		}
		if !found {
			p.failed = true
		}
	}
	return nil
}

func stat(p *proc, args []string) error {
	o, names, err := parse("c/format: L/dereference t f printf:", args)
	if err != nil {
		return err
	}
	if o.has("f") || o.has("t") {
		return usagef("-f and -t are not supported; -c FORMAT is")
	}
	format := o.value("c", "  File: %N\n  Size: %s\tBlocks: %b\tIO Block: %o\t%F\nDevice: %d\tInode: %i\tLinks: %h\nAccess: (%04a/%A)  Uid: %u  Gid: %g\nModify: %Y")
	if len(names) == 0 {
		return usagef("missing operand")
	}
	for _, name := range names {
		look := os.Lstat
		if o.has("L") {
			look = os.Stat
		}
		fi, err := look(name)
		if err != nil {
			p.warn(err)
			continue
		}
		text, err := statFormat(format, name, fi)
		if err != nil {
			return err
		}
		fmt.Fprintln(p.out, text)
	}
	return nil
}

func statFormat(format, name string, fi fs.FileInfo) (string, error) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return "", errors.New("no file status here")
	}
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			out.WriteByte(format[i])
			continue
		}
		width := ""
		for i++; i < len(format)-1 && format[i] >= '0' && format[i] <= '9'; i++ {
			width += string(format[i])
		}
		if len(width) > 3 {
			return "", usagef("-c: width %s is too large", width)
		}
		number := func(v any) { fmt.Fprintf(&out, "%"+width+"d", v) }
		switch format[i] {
		case 'n':
			out.WriteString(name)
		case 'N':
			out.WriteString("'" + name + "'")
			if target, err := os.Readlink(name); err == nil {
				out.WriteString(" -> '" + target + "'")
			}
		case 'a':
			fmt.Fprintf(&out, "%"+width+"o", st.Mode&0o7777)
		case 'A':
			out.WriteString(modeString(fi.Mode()))
		case 'f':
			fmt.Fprintf(&out, "%"+width+"x", st.Mode)
		case 'F':
			out.WriteString(typeName(fi))
		case 's':
			number(st.Size)
		case 'u':
			number(st.Uid)
		case 'g':
			number(st.Gid)
		case 'U':
			out.WriteString(userName(int(st.Uid)))
		case 'G':
			out.WriteString(groupName(int(st.Gid)))
		case 'h':
			number(st.Nlink)
		case 'i':
			number(st.Ino)
		case 'd':
			number(st.Dev)
		case 'b':
			number(st.Blocks)
		case 'B':
			number(512)
		case 'o':
			number(st.Blksize)
		case 'X':
			number(st.Atim.Sec)
		case 'Y':
			number(st.Mtim.Sec)
		case 'Z':
			number(st.Ctim.Sec)
		case '%':
			out.WriteByte('%')
		default:
			return "", usagef("-c: %%%c is not supported", format[i])
		}
	}
	return out.String(), nil
}

func typeName(fi fs.FileInfo) string {
	switch fi.Mode().Type() {
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "symbolic link"
	case fs.ModeNamedPipe:
		return "fifo"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeDevice:
		return "block special file"
	case fs.ModeDevice | fs.ModeCharDevice:
		return "character special file"
	}
	if fi.Size() == 0 {
		return "regular empty file"
	}
	return "regular file"
}

// modeString is the ls -l form, whose place for the execute bit also shows set-user-ID, set-group-ID and sticky.
func modeString(mode fs.FileMode) string {
	kinds := map[fs.FileMode]byte{fs.ModeDir: 'd', fs.ModeSymlink: 'l', fs.ModeNamedPipe: 'p', fs.ModeSocket: 's',
		fs.ModeDevice: 'b', fs.ModeDevice | fs.ModeCharDevice: 'c'}
	out := []byte("-rwxrwxrwx")
	if kind, ok := kinds[mode.Type()]; ok {
		out[0] = kind
	}
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			out[i+1] = '-'
		}
	}
	for i, special := range []struct {
		bit    fs.FileMode
		letter byte
	}{{fs.ModeSetuid, 's'}, {fs.ModeSetgid, 's'}, {fs.ModeSticky, 't'}} {
		if mode&special.bit == 0 {
			continue
		}
		if at := 3 * (i + 1); out[at] == 'x' {
			out[at] = special.letter
		} else {
			out[at] = special.letter - 'a' + 'A'
		}
	}
	return string(out)
}
