package snapshot

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// resolveUnit finds out what the entries of a unit are, whether they differ from base, and sets their times accordingly. Of a file with several
// names only the first is read, and the rest is left to resolveGroups.
func (s *scanner) resolveUnit(ctx context.Context, u unit, buf []byte) error {
	at, err := s.root.openDir(u.dir)
	if err != nil {
		return onDisk("open", u.dir, err)
	}
	defer unix.Close(at)
	for i := range u.list {
		e := &u.list[i]
		if e.kind() == unix.S_IFSOCK || e.isWhiteout() {
			continue
		}
		grouped := e.in != nil && len(e.in.members) > 1
		if grouped && e.in.members[0].found != e {
			continue
		}
		path := tree.Join(u.dir, e.name)
		if e.node, err = s.resolve(ctx, at, path, e, buf); err != nil {
			return err
		}
		if grouped {
			continue
		}
		if err := s.settle(at, path, e); err != nil {
			return err
		}
	}
	return nil
}

// settle decides whether e is a change and sets its time on disk.
func (s *scanner) settle(at int, path string, e *found) error {
	e.same = e.base != nil && sameButTime(e.node, e.base)
	when := s.epoch
	if e.same {
		when = e.base.Meta().Mtime
	}
	if e.mtime == when {
		return nil
	}
	return onDisk("utimensat", path, setTimes(at, e.name, when))
}

// resolve makes the node of one entry.
func (s *scanner) resolve(ctx context.Context, at int, path string, e *found, buf []byte) (*tree.Node, error) {
	base := e.base
	switch e.kind() {
	case unix.S_IFDIR:
		return tree.NewDir(s.meta(e, tree.Dir, s.dirs[path].xattrs)), nil
	case unix.S_IFREG:
		if s.isStandIn(e) {
			major, minor := base.Device()
			return tree.NewDevice(base.Kind(), s.meta(e, base.Kind(), nil), major, minor), nil
		}
		return s.resolveFile(ctx, at, path, e, buf)
	case unix.S_IFLNK:
		target, err := readlink(at, e.name)
		return tree.NewSymlink(s.meta(e, tree.Symlink, nil), target), onDisk("readlink", path, err)
	case unix.S_IFIFO:
		return tree.NewFifo(s.meta(e, tree.Fifo, nil)), nil
	case unix.S_IFCHR:
		return tree.NewDevice(tree.CharDevice, s.meta(e, tree.CharDevice, nil), unix.Major(e.rdev), unix.Minor(e.rdev)), nil
	case unix.S_IFBLK:
		return tree.NewDevice(tree.BlockDevice, s.meta(e, tree.BlockDevice, nil), unix.Major(e.rdev), unix.Minor(e.rdev)), nil
	}
	return nil, fmt.Errorf("snapshot: %q is of no kind that is known: mode %#o", path, e.mode)
}

// isStandIn reports whether an empty file is there for a device that the disk could not hold; see writer.makeDevice.
func (s *scanner) isStandIn(e *found) bool {
	if e.base == nil || e.size != 0 {
		return false
	}
	switch e.base.Kind() {
	case tree.BlockDevice:
		return !s.store.host.trusted
	case tree.CharDevice:
		major, minor := e.base.Device()
		return !s.store.host.trusted || major|minor == 0
	}
	return false
}

func (s *scanner) resolveFile(ctx context.Context, at int, path string, e *found, buf []byte) (*tree.Node, error) {
	if e.size > s.maxSize {
		return nil, &LimitError{What: "bytes", Path: path, Max: s.maxSize}
	}
	fd, err := openat(at, e.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err == unix.EACCES && !s.store.host.owners {
		if err = s.root.chmodPath(path, e.mode&0o7777|0o400); err == nil {
			fd, err = openat(at, e.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
			if back := s.root.chmodPath(path, e.mode&0o7777); back != nil {
				return nil, onDisk("chmod", path, back)
			}
		}
	}
	if err != nil {
		return nil, onDisk("open", path, err)
	}
	defer unix.Close(fd)
	sum, size, err := hashFile(ctx, fd, buf, s.maxSize)
	if err != nil {
		return nil, onDisk("read", path, err)
	}
	if size > s.maxSize {
		return nil, &LimitError{What: "bytes", Path: path, Max: s.maxSize}
	}
	xattrs, _, err := s.store.host.readXattrs(fd)
	if err != nil {
		return nil, onDisk("getxattr", path, err)
	}
	if b := e.base; b != nil && b.Kind() == tree.File && b.Content() == sum && !s.store.host.trusted && findXattr(xattrs, capability) < 0 {
		// Could not be written for the step to see, and bytes that are the same did not lose it.
		if i := findXattr(b.Meta().Xattrs, capability); i >= 0 {
			xattrs = append(xattrs, b.Meta().Xattrs[i])
		}
	}
	return tree.NewFile(s.meta(e, tree.File, xattrs), sum, size, 0), nil
}

// meta makes the metadata of an entry that is of kind k, taking from base what the disk cannot hold when base has the same kind there.
func (s *scanner) meta(e *found, k tree.Kind, xattrs []tree.Xattr) tree.Meta {
	m := tree.Meta{Mode: e.mode & 0o7777, Mtime: s.epoch, Xattrs: xattrs}
	if s.store.host.owners {
		m.UID, m.GID = e.uid, e.gid
	}
	if e.base == nil || e.base.Kind() != k {
		return m
	}
	old := e.base.Meta()
	if !s.store.host.owners {
		m.UID, m.GID = old.UID, old.GID
	}
	if k == tree.Symlink {
		m.Mode = old.Mode // Linux has no modes of links
	}
	for _, x := range old.Xattrs {
		// Special files and links have no attributes that a step could change.
		if !isPortable(x.Name) || k != tree.File && k != tree.Dir {
			m.Xattrs = append(m.Xattrs, x)
		}
	}
	return m
}

func findXattr(list []tree.Xattr, name string) int {
	for i, x := range list {
		if x.Name == name {
			return i
		}
	}
	return -1
}

// sameButTime reports whether two nodes are equal in everything but mtime, children and hard links. That a copy-up broke a link is no change:
// the tree still says that it is one.
func sameButTime(a, b *tree.Node) bool {
	m := a.Meta()
	m.Mtime = b.Meta().Mtime
	if a.Kind() != b.Kind() || !m.Equal(b.Meta()) {
		return false
	}
	switch a.Kind() {
	case tree.File:
		return a.Content() == b.Content() && a.Size() == b.Size()
	case tree.Symlink:
		return a.Target() == b.Target()
	case tree.CharDevice, tree.BlockDevice:
		aMajor, aMinor := a.Device()
		bMajor, bMinor := b.Device()
		return aMajor == bMajor && aMinor == bMinor
	}
	return true
}

// resolveGroups gives the files with several names their nodes. They are no change when base has them all as they are, in one group;
// with ScanOptions.Unlink each that base has as it is, is none.
func (s *scanner) resolveGroups() error {
	number := uint64(0)
	for _, g := range s.groups {
		if len(g.members) < 2 {
			continue // other names were removed, or are in the work directory
		}
		first := g.members[0]
		same := true
		for _, m := range g.members {
			same = same && m.base != nil && first.base != nil && m.base.Group() != 0 && m.base.Group() == first.base.Group() && sameButTime(first.node, m.base)
		}
		node, unchanged := first.node, 0
		for _, m := range g.members {
			m.found.same = same || s.unlink && m.base != nil && sameButTime(first.node, m.base)
			if m.found.same {
				unchanged++
			}
		}
		if len(g.members)-unchanged > 1 || !same && !s.unlink {
			number++
			node = node.WithGroup(number)
		}
		for _, m := range g.members {
			m.found.node = node
		}
		at, err := s.root.openDir(first.dir)
		if err == nil {
			when := s.epoch
			if unchanged == len(g.members) {
				when = first.base.Meta().Mtime
			}
			err = setTimes(at, first.name, when)
			unix.Close(at)
		}
		if err != nil {
			return onDisk("utimensat", tree.Join(first.dir, first.name), err)
		}
	}
	return nil
}

// resolveRoot does for the root what resolveUnit does for an entry.
func (s *scanner) resolveRoot(base *tree.Node) error {
	e, err := statAt(s.root.fd, "")
	if err != nil {
		return onDisk("lstat", "", err)
	}
	for i, path := range s.unlocker.paths {
		if path == "" {
			e.mode = e.mode&unix.S_IFMT | s.unlocker.modes[i]
			break
		}
	}
	f := found{entry: e, base: base}
	if base == nil {
		f.base = tree.NewDir(tree.Meta{Mode: 0o755})
	}
	f.name = "."
	f.node = tree.NewDir(s.meta(&f, tree.Dir, s.dirs[""].xattrs))
	if err := s.settle(s.root.fd, "", &f); err != nil {
		return err
	}
	if !f.same {
		s.changes = append(s.changes, tree.Change{Node: f.node})
	}
	return nil
}

func readlink(at int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(at, name, buf)
	if err != nil {
		return "", err
	}
	if n == len(buf) {
		return "", unix.ENAMETOOLONG
	}
	return string(buf[:n]), nil
}
