package snapshot

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// unitSize is the number of entries of one directory that a worker takes at once.
const unitSize = 64

// A writer writes changes into an empty directory as an overlay lower.
//
// It does so in four passes: all directories, by paths, while nothing but directories exists and so no link can be followed; everything else,
// each entry through its held parent and refusing what exists; hard links; at last the metadata of the directories, the deepest first,
// since adding names changes a directory's mtime and its final mode may not allow it.
type writer struct {
	root     root
	host     host
	full     *tree.Node
	open     tree.Opener
	parallel int

	dirs   []writtenDir
	made   map[string]bool
	leaves []tree.Change
	links  []link
}

type writtenDir struct {
	path   string
	meta   tree.Meta
	opaque bool
}

type link struct{ path, to string }

func (w *writer) write(ctx context.Context, changes []tree.Change) error {
	if err := w.plan(changes); err != nil {
		return err
	}
	for _, d := range w.dirs[1:] {
		if err := unix.Mkdirat(w.root.fd, d.path, 0o700); err != nil {
			return onDisk("mkdir", d.path, err)
		}
	}
	if err := parallelUnits(ctx, w.parallel, units(w.leaves), w.writeUnit); err != nil {
		return err
	}
	for _, l := range w.links {
		if err := w.link(ctx, l); err != nil {
			return err
		}
	}
	for i := len(w.dirs) - 1; i >= 0; i-- {
		if err := w.finishDir(w.dirs[i]); err != nil {
			return onDisk("setting the metadata of", w.dirs[i].path, err)
		}
	}
	return nil
}

// plan sorts the changes into directories, leaves and links.
func (w *writer) plan(changes []tree.Change) error {
	if len(changes) > maxEntries {
		return &LimitError{What: "entries", Max: maxEntries}
	}
	w.made = make(map[string]bool)
	groups := make(map[uint64]string)
	w.addDir("", nil)
	for _, c := range changes {
		if err := checkPath(c.Path); err != nil {
			return err
		}
		if c.Node != nil && c.Node.Kind() == tree.Dir {
			w.addDir(c.Path, c.Node)
			if i := len(w.dirs) - 1; c.Opaque && w.dirs[i].path == c.Path {
				w.dirs[i].opaque = true
			}
			continue
		}
		dir, _ := split(c.Path)
		if c.Node == nil && w.full != nil && tree.Lookup(w.full, dir) == nil {
			continue // went together with the directory that it was in
		}
		w.addDir(dir, nil)
		if c.Node != nil && c.Node.Group() != 0 {
			if first, ok := groups[c.Node.Group()]; ok {
				w.links = append(w.links, link{c.Path, first})
				continue
			}
			groups[c.Node.Group()] = c.Path
		}
		w.leaves = append(w.leaves, c)
	}
	return nil
}

// addDir adds a directory after those above it. Its metadata is that of the whole tree; n is for a directory that the tree does not have.
func (w *writer) addDir(path string, n *tree.Node) {
	if w.made[path] {
		return
	}
	if path != "" {
		dir, _ := split(path)
		w.addDir(dir, nil)
	}
	w.made[path] = true
	meta := tree.Meta{Mode: 0o755}
	if n != nil {
		meta = n.Meta()
	}
	if in := tree.Lookup(w.full, path); in != nil && in.Kind() == tree.Dir {
		meta = in.Meta()
	}
	w.dirs = append(w.dirs, writtenDir{path: path, meta: meta})
}

// writeUnit writes entries of one directory.
func (w *writer) writeUnit(ctx context.Context, unit []tree.Change, buf []byte) error {
	dir, _ := split(unit[0].Path)
	at, err := w.root.openDir(dir)
	if err != nil {
		return onDisk("open", dir, err)
	}
	defer unix.Close(at)
	for _, c := range unit {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		_, name := split(c.Path)
		if err := w.writeLeaf(ctx, at, name, c, buf); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) writeLeaf(ctx context.Context, at int, name string, c tree.Change, buf []byte) error {
	if c.Node == nil {
		// A character device 0:0 is a whiteout, and needs no privilege (since Linux 5.8).
		return onDisk("making a whiteout for", c.Path, unix.Mknodat(at, name, unix.S_IFCHR, 0))
	}
	switch c.Node.Kind() {
	case tree.File:
		return w.writeFile(ctx, at, name, c.Path, c.Node, buf)
	case tree.Symlink:
		if err := unix.Symlinkat(c.Node.Target(), at, name); err != nil {
			return onDisk("symlink", c.Path, err)
		}
	case tree.Fifo:
		if err := unix.Mknodat(at, name, unix.S_IFIFO|0o600, 0); err != nil {
			return onDisk("mkfifo", c.Path, err)
		}
	case tree.CharDevice, tree.BlockDevice:
		if err := w.makeDevice(at, name, c.Node); err != nil {
			return onDisk("mknod", c.Path, err)
		}
	default:
		return fmt.Errorf("snapshot: %q is a %s, which cannot be written", c.Path, c.Node.Kind())
	}
	return onDisk("setting the metadata of", c.Path, w.setMeta(at, name, c.Node))
}

// makeDevice makes a device node, or where that is not possible the empty file that stands in for one (see the package comment).
// The device 0:0 would be a whiteout.
func (w *writer) makeDevice(at int, name string, n *tree.Node) error {
	major, minor := n.Device()
	if w.host.owners && (n.Kind() == tree.BlockDevice || major|minor != 0) {
		kind := uint32(unix.S_IFCHR)
		if n.Kind() == tree.BlockDevice {
			kind = unix.S_IFBLK
		}
		err := unix.Mknodat(at, name, kind|0o600, int(unix.Mkdev(major, minor)))
		if err != unix.EPERM {
			return err
		}
	}
	return unix.Mknodat(at, name, unix.S_IFREG|0o600, 0)
}

// setMeta sets owner, mode and times of a new name that is no directory and has no attributes. The mode comes after the owner, because chown
// clears set-user-ID. Nobody else writes here, so the name is still what was made, and a link is never followed.
func (w *writer) setMeta(at int, name string, n *tree.Node) error {
	m := n.Meta()
	if w.host.owners {
		if err := unix.Fchownat(at, name, int(m.UID), int(m.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	if n.Kind() != tree.Symlink {
		if err := unix.Fchmodat(at, name, m.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	return setTimes(at, name, m.Mtime)
}

func (w *writer) link(ctx context.Context, l link) error {
	fromDir, fromName := split(l.to)
	toDir, toName := split(l.path)
	from, err := w.root.openDir(fromDir)
	if err != nil {
		return onDisk("open", fromDir, err)
	}
	defer unix.Close(from)
	to, err := w.root.openDir(toDir)
	if err != nil {
		return onDisk("open", toDir, err)
	}
	defer unix.Close(to)
	err = unix.Linkat(from, fromName, to, toName, 0)
	if err == unix.EMLINK {
		// More names than the filesystem allows one file: the rest become a file of their own each.
		n := tree.Lookup(w.full, l.path)
		if n == nil {
			return onDisk("link", l.path, err)
		}
		return w.writeFile(ctx, to, toName, l.path, n, make([]byte, copyBuf))
	}
	return onDisk("link", l.path, err)
}

func (w *writer) finishDir(d writtenDir) error {
	fd, err := w.root.openDir(d.path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if w.host.owners {
		if err := unix.Fchown(fd, int(d.meta.UID), int(d.meta.GID)); err != nil {
			return err
		}
	}
	if err := w.host.setXattrs(fd, d.meta.Xattrs); err != nil {
		return err
	}
	if d.opaque {
		if err := unix.Fsetxattr(fd, w.host.opaque(), []byte("y"), 0); err != nil {
			return err
		}
	}
	if err := setTimes(fd, ".", d.meta.Mtime); err != nil {
		return err
	}
	return unix.Fchmod(fd, d.meta.Mode&0o7777) // last: it may take away what the calls above need
}

// units cuts changes into runs of at most unitSize that lie in one directory.
func units(changes []tree.Change) [][]tree.Change {
	var out [][]tree.Change
	start := 0
	for i := 1; i <= len(changes); i++ {
		if i == len(changes) || i-start == unitSize || !sameDir(changes[start].Path, changes[i].Path) {
			out = append(out, changes[start:i])
			start = i
		}
	}
	return out
}

func sameDir(a, b string) bool {
	i, j := strings.LastIndexByte(a, '/'), strings.LastIndexByte(b, '/')
	return i == j && (i < 0 || a[:i] == b[:i])
}

// parallelUnits calls f for every element of list from n goroutines, each with a buffer of its own, until one fails.
func parallelUnits[T any](ctx context.Context, n int, list []T, f func(context.Context, T, []byte) error) error {
	n = min(n, len(list))
	g, ctx := errgroup.WithContext(ctx)
	next := make(chan T)
	for range n {
		g.Go(func() error {
			buf := make([]byte, copyBuf)
			for u := range next {
				if err := f(ctx, u, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(next)
		for _, u := range list {
			select {
			case next <- u:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return g.Wait()
}
