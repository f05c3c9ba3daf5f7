package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// mv is ours because u-root's cannot move a directory of a lower layer, which overlayfs calls another device.
func mv(p *proc, args []string) error {
	o, names, err := parse("f/force n/no-clobber v/verbose T/no-target-directory t/target-directory:", args)
	if err != nil {
		return err
	}
	dir := o.value("t", "")
	if len(names) < 1 || len(names) < 2 && dir == "" {
		return usagef("missing operand")
	}
	if dir == "" {
		last := names[len(names)-1]
		if fi, err := os.Stat(last); err == nil && fi.IsDir() && !o.has("T") {
			dir = last
		} else if len(names) > 2 {
			return usagef("target '%s' is not a directory", last)
		}
		if dir == "" {
			return move(o, names[0], last)
		}
		names = names[:len(names)-1]
	}
	for _, name := range names {
		if err := move(o, name, filepath.Join(dir, filepath.Base(name))); err != nil {
			p.warn(err)
		}
	}
	return nil
}

func move(o *options, from, to string) error {
	if _, err := os.Lstat(to); err == nil && o.has("n") {
		return nil
	}
	err := os.Rename(from, to)
	if link, ok := err.(*os.LinkError); !ok || link.Err != syscall.EXDEV {
		return err
	}
	if err := duplicate(from, to); err != nil {
		return err
	}
	return os.RemoveAll(from)
}

// duplicate copies a tree with owners, modes and times.
func duplicate(from, to string) error {
	fi, err := os.Lstat(from)
	if err != nil {
		return err
	}
	switch fi.Mode().Type() {
	case fs.ModeDir:
		if err = os.Mkdir(to, 0o700); err == nil {
			err = duplicateBelow(from, to)
		}
	case fs.ModeSymlink:
		var target string
		if target, err = os.Readlink(from); err == nil {
			err = os.Symlink(target, to)
		}
	case 0:
		var data []byte
		if data, err = os.ReadFile(from); err == nil {
			err = os.WriteFile(to, data, 0o600)
		}
	default:
		st := fi.Sys().(*syscall.Stat_t)
		err = syscall.Mknod(to, st.Mode, int(st.Rdev))
	}
	if err != nil {
		return err
	}
	st := fi.Sys().(*syscall.Stat_t)
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil || fi.Mode().Type() == fs.ModeSymlink {
		return err
	}
	if err := syscall.Chmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	return os.Chtimes(to, fi.ModTime(), fi.ModTime())
}

func duplicateBelow(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := duplicate(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
