package snapshot

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// Scan reads what a step left in the upper and returns how it differs from base, the tree that the step saw, in the order of [tree.Walk]. All of
// the step's processes must be dead.
//
// What is equal to base in everything but its mtime is no change: copied-up directories above a changed file, files written anew with the bytes that
// they had. Whatever did change has the modification time of the options, in the result and on disk; the rest gets base's time back on disk, so
// that a later step sees what the tree says. A directory that hides all that was below it gives removals instead of an opaque mark. Sockets are
// removed. Files with several names in the upper form groups, numbered from 1 in the order of the result.
//
// The package comment says what an ordinary user's disk cannot hold and where it is taken from. Errors: those of the disk, with the path; [*LimitError];
// the context's cause. Scan may be called again after an error.
func (u *Upper) Scan(ctx context.Context, base *tree.Node, o ScanOptions) (changes []tree.Change, err error) {
	if u.over {
		return nil, errors.New("snapshot: Scan of an upper that was adopted or discarded")
	}
	s := scanner{store: u.store, root: u.root, epoch: 0, dirs: make(map[string]*scannedDir), inodes: make(map[inode]*group), unlocker: unlocker{root: u.root}}
	if !o.Epoch.IsZero() {
		s.epoch = o.Epoch.UnixNano()
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = maxEntries
	}
	if o.MaxFileSize <= 0 {
		o.MaxFileSize = maxFileSize
	}
	s.maxSize, s.unlink = o.MaxFileSize, o.Unlink
	defer func() { err = errors.Join(err, s.unlocker.restore()) }()
	if err := s.read(ctx, o.MaxEntries); err != nil {
		return nil, err
	}
	if err := s.match("", base); err != nil {
		return nil, err
	}
	if err := parallelUnits(ctx, u.store.opts.Parallel, s.units, s.resolveUnit); err != nil {
		return nil, err
	}
	if err := s.resolveGroups(); err != nil {
		return nil, err
	}
	if err := s.resolveRoot(base); err != nil {
		return nil, err
	}
	s.emit("", base)
	u.base, u.scanned = base, true
	return s.changes, nil
}

// A scanner holds the state of one Scan. Its steps: read everything that stat and the directories' attributes tell; match it with the base tree; hash,
// compare and set times in parallel, one unit of a directory's entries after the other; put the changes in order.
type scanner struct {
	store    *Store
	root     root
	unlocker unlocker
	epoch    int64
	maxSize  int64
	unlink   bool

	mu      sync.Mutex
	dirs    map[string]*scannedDir
	inodes  map[inode]*group
	groups  []*group
	units   []unit
	changes []tree.Change
}

type scannedDir struct {
	list   []found
	xattrs []tree.Xattr
	opaque bool
}

// found is an entry of the upper, what base has in its place, and what came of it.
type found struct {
	entry
	base *tree.Node
	node *tree.Node // nil: removed, or a socket
	same bool       // no change
	in   *group
}

type inode struct{ dev, ino uint64 }

// A group is a file with several names.
type group struct {
	members []member
}

type member struct {
	dir string
	*found
}

// A unit is a run of entries of one directory.
type unit struct {
	dir  string
	list []found
}

func (s *scanner) read(ctx context.Context, max int) error {
	w := walker{root: s.root, parallel: s.store.opts.Parallel, max: max, visit: s.visit}
	if !s.store.host.owners {
		w.unlocker = &s.unlocker
	}
	return w.run(ctx)
}

func (s *scanner) visit(path string, fd int, list []entry) error {
	d := &scannedDir{list: make([]found, len(list))}
	for i := range list {
		d.list[i].entry = list[i]
	}
	var err error
	if d.xattrs, d.opaque, err = s.store.host.readXattrs(fd); err != nil {
		return onDisk("getxattr", path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirs[path] = d
	return nil
}

// match gives every entry below path its counterpart in base, collects groups, and cuts the entries into units, all in the order of the result.
func (s *scanner) match(path string, base *tree.Node) error {
	d := s.dirs[path]
	for i := range d.list {
		e := &d.list[i]
		if base != nil && base.Kind() == tree.Dir {
			e.base = base.Child(e.name)
		}
		switch {
		case e.kind() == unix.S_IFDIR:
			if err := s.match(tree.Join(path, e.name), e.base); err != nil {
				return err
			}
		case e.kind() == unix.S_IFSOCK:
			if err := s.dropSocket(path, e); err != nil {
				return onDisk("removing the socket", tree.Join(path, e.name), err)
			}
		case e.kind() == unix.S_IFREG && e.nlink > 1:
			key := inode{e.dev, e.ino}
			if s.inodes[key] == nil {
				s.inodes[key] = &group{}
				s.groups = append(s.groups, s.inodes[key])
			}
			e.in = s.inodes[key]
			e.in.members = append(e.in.members, member{path, e})
		}
	}
	for rest := d.list; len(rest) > 0; {
		n := min(len(rest), unitSize)
		s.units = append(s.units, unit{path, rest[:n]})
		rest = rest[n:]
	}
	return nil
}

// dropSocket removes a socket from the upper, leaving a whiteout when it took the place of something.
func (s *scanner) dropSocket(dir string, e *found) error {
	if top, err := s.root.open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err == nil {
		st, err := statAt(top, "")
		unix.Close(top)
		if err == nil && !s.store.host.owners && st.mode&0o700 != 0o700 {
			err = s.unlocker.unlock(dir, st.mode)
		}
		if err != nil {
			return err
		}
	}
	at, err := s.root.openDir(dir)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	if err := unix.Unlinkat(at, e.name, 0); err != nil {
		return err
	}
	if e.base == nil {
		return nil
	}
	return unix.Mknodat(at, e.name, unix.S_IFCHR, 0)
}

// emit appends the changes below and including path.
func (s *scanner) emit(path string, base *tree.Node) {
	d := s.dirs[path]
	var hidden []string // names of base that an opaque directory hides
	if d.opaque && base != nil && base.Kind() == tree.Dir {
		for name := range base.All() {
			hidden = append(hidden, name)
		}
	}
	remove := func(name string) {
		s.changes = append(s.changes, tree.Change{Path: tree.Join(path, name)})
	}
	for i := range d.list {
		e := &d.list[i]
		for len(hidden) > 0 && hidden[0] < e.name {
			remove(hidden[0])
			hidden = hidden[1:]
		}
		if len(hidden) > 0 && hidden[0] == e.name {
			hidden = hidden[1:]
		}
		switch {
		case e.node == nil && e.base != nil:
			remove(e.name)
		case e.node != nil && !e.same:
			s.changes = append(s.changes, tree.Change{Path: tree.Join(path, e.name), Node: e.node})
		}
		if e.kind() == unix.S_IFDIR {
			s.emit(tree.Join(path, e.name), e.base)
		}
	}
	for _, name := range hidden {
		remove(name)
	}
}
