package child

import (
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// RemoveCreated takes the mount points that a child made out of the upper
// directory again, the deepest first, unless something was put there since.
// No process of the sandbox may be alive. Links that one has left in the upper
// directory are not followed.
func RemoveCreated(upper string, created []Created) error {
	if len(created) == 0 {
		return nil
	}
	root, err := unix.Open(upper, openPath|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	for _, c := range slices.Backward(created) {
		if err := removeOne(root, c); err != nil {
			return err
		}
	}
	return nil
}

func removeOne(root int, c Created) error {
	dir, base := path.Split(c.Path)
	at, err := openBeneath(root, dir)
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
		return nil // the step has put something else in the place of a parent
	}
	if err != nil {
		return err
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstatat(at, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return ignore(err, unix.ENOENT)
	}
	kind := st.Mode & unix.S_IFMT
	flags := 0
	switch {
	case c.Dir && kind == unix.S_IFDIR:
		flags = unix.AT_REMOVEDIR
	case c.Dir || kind != unix.S_IFREG || st.Size != 0:
		return nil
	}
	if err := unix.Unlinkat(at, base, flags); err != nil {
		return ignore(err, unix.ENOTEMPTY)
	}
	if c.Whiteout {
		// Making this one device needs no privilege, unlike all others.
		return unix.Mknodat(at, base, unix.S_IFCHR, 0)
	}
	return nil
}

func ignore(err, expected error) error {
	if err == expected {
		return nil
	}
	return err
}

// openBeneath opens a directory by a path without links.
func openBeneath(root int, dir string) (int, error) {
	fd, err := unix.FcntlInt(uintptr(root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	for _, e := range strings.Split(strings.Trim(dir, "/"), "/") {
		if e == "" {
			continue
		}
		next, err := unix.Openat(fd, e, openPath|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		_ = unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}
