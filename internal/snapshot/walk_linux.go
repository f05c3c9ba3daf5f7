package snapshot

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// maxEntries bounds what is read of one directory tree unless a caller says otherwise.
const maxEntries = 4_000_000

// An entry is one name in a directory with what lstat(2) says of it.
type entry struct {
	name         string
	mode         uint32 // type and permissions
	uid, gid     uint32
	nlink        uint64
	dev, ino     uint64
	rdev         uint64
	size         int64
	blocks       int64 // allocated, of 512 bytes each
	atime        int64 // nanoseconds since the Unix epoch, as are the others
	mtime, ctime int64
}

func (e *entry) kind() uint32 { return e.mode & unix.S_IFMT }

func (e *entry) isWhiteout() bool { return e.kind() == unix.S_IFCHR && e.rdev == 0 }

func statAt(at int, name string) (entry, error) {
	var st unix.Stat_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if err := unix.Fstatat(at, name, &st, flags); err != nil {
		return entry{}, err
	}
	return entry{name: name, mode: st.Mode, uid: st.Uid, gid: st.Gid, nlink: uint64(st.Nlink), dev: st.Dev, ino: st.Ino, rdev: st.Rdev,
		size: st.Size, blocks: st.Blocks, atime: st.Atim.Nano(), mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()}, nil
}

// An unlocker gives an ordinary user access to directories of its own that deny it, for the time of a walk. Root needs none.
type unlocker struct {
	root  root
	mu    sync.Mutex
	paths []string // a directory before those inside it
	modes []uint32
}

// unlock lets the owner read, search and write the directory path, whose mode it is given.
func (u *unlocker) unlock(path string, mode uint32) error {
	if err := u.root.chmodPath(path, mode&0o7777|0o700); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.paths, u.modes = append(u.paths, path), append(u.modes, mode&0o7777)
	return nil
}

// restore gives all directories their modes back.
func (u *unlocker) restore() error {
	var first error
	for i, path := range slices.Backward(u.paths) {
		if err := u.root.chmodPath(path, u.modes[i]); err != nil && first == nil {
			first = onDisk("chmod", path, err)
		}
	}
	u.paths, u.modes = nil, nil
	return first
}

// A walker reads a directory tree with several goroutines.
type walker struct {
	root     root
	unlocker *unlocker // nil: everything is readable
	parallel int
	max      int
	// visit gets each directory once, open, with its entries in byte order of their names. It is called concurrently, a directory
	// after the one it is in, otherwise in any order, and may keep list but not fd.
	visit func(path string, fd int, list []entry) error

	mu      sync.Mutex
	change  *sync.Cond
	todo    []string
	pending int // directories in todo or being read
	entries int
	err     error
}

func (w *walker) run(ctx context.Context) error {
	if w.unlocker != nil {
		top, err := statAt(w.root.fd, "")
		if err == nil && top.mode&0o500 != 0o500 {
			err = w.unlocker.unlock("", top.mode)
		}
		if err != nil {
			return onDisk("open", "", err)
		}
	}
	w.change = sync.NewCond(&w.mu)
	w.todo, w.pending = []string{""}, 1
	stop := context.AfterFunc(ctx, func() { w.fail(context.Cause(ctx)) })
	defer stop()
	var workers sync.WaitGroup
	for range w.parallel {
		workers.Go(w.work)
	}
	workers.Wait()
	return w.err
}

func (w *walker) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.change.Broadcast()
}

func (w *walker) work() {
	for {
		w.mu.Lock()
		for len(w.todo) == 0 && w.pending > 0 && w.err == nil {
			w.change.Wait()
		}
		if w.pending == 0 || w.err != nil {
			w.mu.Unlock()
			return
		}
		path := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		left := w.max - w.entries
		w.mu.Unlock()

		below, n, err := w.read(path, left)
		if err != nil {
			w.fail(err)
			return
		}
		w.mu.Lock()
		w.todo = append(w.todo, below...)
		w.pending += len(below) - 1
		w.entries += n
		if w.entries > w.max && w.err == nil {
			w.err = &LimitError{What: "entries", Path: path, Max: int64(w.max)}
		}
		w.mu.Unlock()
		if len(below) != 1 { // with one there is nothing for others to do
			w.change.Broadcast()
		}
	}
}

// read lists one directory, calls visit, and returns the paths of the directories in it and the number of entries.
func (w *walker) read(path string, left int) (below []string, n int, err error) {
	fd, err := w.root.openDir(path)
	if err != nil {
		return nil, 0, onDisk("open", path, err)
	}
	defer unix.Close(fd)
	names, err := readNames(fd, left)
	if err != nil {
		return nil, 0, onDisk("getdents", path, err)
	}
	if len(names) > left {
		return nil, 0, &LimitError{What: "entries", Path: path, Max: int64(w.max)}
	}
	list := make([]entry, len(names))
	for i, name := range names {
		if list[i], err = statAt(fd, name); err != nil {
			return nil, 0, onDisk("lstat", tree.Join(path, name), err)
		}
		if len(path)+1+len(name) > maxPath {
			return nil, 0, checkPath(tree.Join(path, name))
		}
		if list[i].kind() != unix.S_IFDIR {
			continue
		}
		sub := tree.Join(path, name)
		if w.unlocker != nil && list[i].mode&0o500 != 0o500 {
			if err := w.unlocker.unlock(sub, list[i].mode); err != nil {
				return nil, 0, onDisk("chmod", sub, err)
			}
		}
		below = append(below, sub)
	}
	slices.Reverse(below) // the first is taken first
	return below, len(names), w.visit(path, fd, list)
}
