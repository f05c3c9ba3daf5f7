package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// WriteDirs writes the archive's directories below dir, with exact modes whatever the umask: the build context to dir/context, which is
// always there, further ones beside it, and the Dockerfile to dir/FILE. Owners are set where this process may.
func (c *Case) WriteDirs(dir string) error {
	c.dir("context")
	for name, set := range c.dirs {
		if err := set.writeDir(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("%s: %s: %w", c.Name, name, err)
		}
	}
	for name, data := range c.own {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (s *fileset) writeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	list := s.sorted()
	for _, e := range list {
		if e.path == "." {
			continue
		}
		if err := e.write(dir); err != nil {
			return fmt.Errorf("%s: %w", e.path, err)
		}
	}
	// Modes last and the deepest first: a directory without permissions must not stand in the way.
	slices.Reverse(list)
	for _, e := range list {
		if err := e.adorn(filepath.Join(dir, e.path)); err != nil {
			return fmt.Errorf("%s: %w", e.path, err)
		}
	}
	return nil
}

func (e *entry) write(dir string) error {
	path := filepath.Join(dir, e.path)
	switch e.kind {
	case kindFile:
		return os.WriteFile(path, e.data, 0o600)
	case kindDir:
		return os.Mkdir(path, 0o700)
	case kindLink:
		return os.Symlink(e.target, path)
	case kindHard:
		return os.Link(filepath.Join(dir, e.target), path)
	case kindFifo:
		return unix.Mkfifo(path, 0o600)
	case kindSocket:
		return unix.Mknod(path, unix.S_IFSOCK|0o600, 0)
	case kindChar:
		return unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(e.major, e.minor)))
	case kindBlock:
		return unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(e.major, e.minor)))
	}
	return fmt.Errorf("cannot make a %s", e.kind)
}

// adorn sets owner, extended attributes, mode and time.
func (e *entry) adorn(path string) error {
	if e.kind == kindHard {
		return nil
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(path, e.uid, e.gid); err != nil {
			return err
		}
	}
	for _, x := range e.xattrs {
		if err := unix.Lsetxattr(path, x.Name, []byte(x.Value), 0); err != nil {
			return fmt.Errorf("xattr %s: %w", x.Name, err)
		}
	}
	if e.kind == kindLink {
		return nil
	}
	if err := unix.Chmod(path, e.mode); err != nil {
		return err
	}
	return os.Chtimes(path, bornAt(), bornAt())
}
