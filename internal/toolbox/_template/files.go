package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func owner(fi fs.FileInfo) (uid, gid int, ok bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

func ln(p *proc, args []string) error {
	o, names, err := parse("s/symbolic f/force n/no-dereference v/verbose r/relative T/no-target-directory t/target-directory: P L", args)
	if err != nil {
		return err
	}
	dir := o.value("t", "")
	switch {
	case len(names) == 0:
		return usagef("missing file operand")
	case dir == "" && len(names) == 1:
		dir = "."
	case dir == "":
		last := names[len(names)-1]
		fi, err := os.Stat(last)
		if lfi, lerr := os.Lstat(last); lerr == nil && lfi.Mode().Type() == fs.ModeSymlink && o.has("n") {
			err = errors.New("a link that is not followed")
		}
		if err == nil && fi.IsDir() && !o.has("T") {
			dir, names = last, names[:len(names)-1]
			break
		}
		if len(names) > 2 {
			return fmt.Errorf("target '%s' is not a directory", last)
		}
		return link(p, o, names[0], last)
	}
	for _, name := range names {
		if err := link(p, o, name, filepath.Join(dir, filepath.Base(name))); err != nil {
			p.warn(err)
		}
	}
	return nil
}

func link(p *proc, o *options, target, name string) error {
	if o.has("r") {
		abs, err := filepath.Abs(target)
		if err != nil {
			return err
		}
		from, err := filepath.Abs(filepath.Dir(name))
		if err != nil {
			return err
		}
		if target, err = filepath.Rel(from, abs); err != nil {
			return err
		}
	}
	make := os.Link
	if o.has("s") {
		make = os.Symlink
	}
	err := make(target, name)
	if errors.Is(err, fs.ErrExist) && o.has("f") {
		if a, aerr := os.Stat(target); aerr == nil && !o.has("s") {
			if b, berr := os.Lstat(name); berr == nil && os.SameFile(a, b) {
				return nil
			}
		}
		if err = os.Remove(name); err == nil {
			err = make(target, name)
		}
	}
	if err == nil && o.has("v") {
		fmt.Fprintf(p.out, "'%s' -> '%s'\n", name, target)
	}
	return err
}

func chown(p *proc, args []string) error { return changeOwner(p, args, parseOwner) }

func chgrp(p *proc, args []string) error {
	return changeOwner(p, args, func(text string) (int, int, error) {
		gid, err := groupID(text)
		return -1, gid, err
	})
}

func changeOwner(p *proc, args []string, ids func(string) (uid, gid int, err error)) error {
	o, names, err := parse("R/recursive h/no-dereference f/silent/quiet v/verbose H L P", args)
	if err != nil {
		return err
	}
	if len(names) < 2 {
		return usagef("missing operand")
	}
	uid, gid, err := ids(names[0])
	if err != nil {
		return err
	}
	for _, name := range names[1:] {
		change := func(path string, follow bool) {
			err := os.Lchown(path, uid, gid)
			if follow {
				err = os.Chown(path, uid, gid)
			}
			if err != nil && !o.has("f") {
				p.warn(err)
			}
		}
		if !o.has("R") {
			change(name, !o.has("h"))
			continue
		}
		// Links below the operand are never followed out of it.
		err := filepath.WalkDir(name, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				p.warn(err)
				return nil
			}
			change(path, false)
			return nil
		})
		if err != nil {
			p.warn(err)
		}
	}
	return nil
}

// parseOwner reads `user`, `user:group`, `:group` and `user:`, which names the user's own group.
func parseOwner(text string) (uid, gid int, err error) {
	name, group, hasGroup := strings.Cut(text, ":")
	uid, gid = -1, -1
	if name != "" {
		u, lookupErr := user.Lookup(name)
		switch {
		case lookupErr == nil:
			uid, err = strconv.Atoi(u.Uid)
			if hasGroup && group == "" {
				gid, _ = strconv.Atoi(u.Gid)
			}
		default:
			if uid, err = numericID(name); err != nil {
				return 0, 0, fmt.Errorf("invalid user: '%s'", text)
			}
		}
	}
	if group != "" {
		gid, err = groupID(group)
	}
	return uid, gid, err
}

func groupID(name string) (int, error) {
	if g, err := user.LookupGroup(name); err == nil {
		return strconv.Atoi(g.Gid)
	}
	id, err := numericID(name)
	if err != nil {
		return 0, fmt.Errorf("invalid group: '%s'", name)
	}
	return id, nil
}

// numericID refuses 2^32-1, which the kernel takes for "unchanged".
func numericID(text string) (int, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == 1<<32-1 {
		return 0, fmt.Errorf("invalid id %q", text)
	}
	return int(id), nil
}

func rmdir(p *proc, args []string) error {
	o, names, err := parse("p/parents ignore-fail-on-non-empty v", args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return usagef("missing operand")
	}
	for _, name := range names {
		for path := filepath.Clean(name); ; path = filepath.Dir(path) {
			if err := syscall.Rmdir(path); err != nil {
				p.warn(&fs.PathError{Op: "rmdir", Path: name, Err: err})
				break
			}
			if !o.has("p") || filepath.Dir(path) == path || filepath.Dir(path) == "." {
				break
			}
		}
	}
	return nil
}

func mkfifo(p *proc, args []string) error {
	o, names, err := parse("m/mode:", args)
	if err != nil {
		return err
	}
	mode, err := strconv.ParseUint(o.value("m", "666"), 8, 12)
	if err != nil {
		return usagef("invalid mode %q", o.value("m", ""))
	}
	for _, name := range names {
		err := syscall.Mkfifo(name, uint32(mode))
		if err == nil && o.has("m") {
			err = syscall.Chmod(name, uint32(mode))
		}
		if err != nil {
			p.warn(&fs.PathError{Op: "mkfifo", Path: name, Err: err})
		}
	}
	return nil
}

func install(p *proc, args []string) error {
	o, names, err := parse("d/directory D m/mode: o/owner: g/group: c s p v T t/target-directory:", args)
	if err != nil {
		return err
	}
	mode, err := strconv.ParseUint(o.value("m", "755"), 8, 12)
	if err != nil {
		return usagef("-m: an octal mode is needed, not %q", o.value("m", ""))
	}
	finish := func(path string) error {
		uid, gid := -1, -1
		var err error
		if v := o.value("o", ""); v != "" {
			if uid, _, err = parseOwner(v); err != nil {
				return err
			}
		}
		if v := o.value("g", ""); v != "" {
			if gid, err = groupID(v); err != nil {
				return err
			}
		}
		if uid >= 0 || gid >= 0 {
			if err := os.Chown(path, uid, gid); err != nil {
				return err
			}
		}
		// After chown, which clears the set-user-ID bit.
		if err := syscall.Chmod(path, uint32(mode)); err != nil {
			return &fs.PathError{Op: "chmod", Path: path, Err: err}
		}
		return nil
	}
	if o.has("d") {
		for _, name := range names {
			err := os.MkdirAll(name, 0o755)
			if err == nil {
				err = finish(name)
			}
			if err != nil {
				p.warn(err)
			}
		}
		return nil
	}
	dir := o.value("t", "")
	if dir == "" {
		if len(names) < 2 {
			return usagef("missing destination file operand")
		}
		dir, names = names[len(names)-1], names[:len(names)-1]
	}
	fi, statErr := os.Stat(dir)
	into := o.has("t") || statErr == nil && fi.IsDir() && !o.has("T")
	if len(names) > 1 && !into {
		return fmt.Errorf("target '%s' is not a directory", dir)
	}
	for _, name := range names {
		to := dir
		if into {
			to = filepath.Join(dir, filepath.Base(name))
		}
		if o.has("D") {
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
		}
		err := replaceFile(name, to)
		if err == nil {
			err = finish(to)
		}
		if err != nil {
			p.warn(err)
		}
	}
	return nil
}
