package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/stagewright/stagewright/internal/tree"
)

// writer puts the files of an image into a directory. All names go through an
// os.Root, so that no link leads out of it.
type writer struct {
	root  *os.Root
	files *flat
	owner bool              // the ids of files can be set
	links map[uint64]string // the first name of each hard-link set
}

// writeDir writes all files of an image to an existing directory.
func writeDir(ctx context.Context, dir string, f *flat) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	w := &writer{root: root, files: f, owner: os.Geteuid() == 0, links: map[uint64]string{}}
	type entry struct {
		path string
		node *tree.Node
	}
	var dirs []entry
	for p, n := range tree.Walk(f.root) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p == "" {
			p = "."
		}
		if n.IsDir() {
			dirs = append(dirs, entry{p, n})
			err = w.mkdir(p)
		} else {
			err = w.put(p, n)
		}
		if err != nil {
			return fmt.Errorf("/%s: %w", p, err)
		}
	}
	// A directory may forbid writing, and what is made in it changes its time.
	for _, d := range slices.Backward(dirs) {
		if err := w.meta(d.path, d.node); err != nil {
			return fmt.Errorf("/%s: %w", d.path, err)
		}
	}
	return nil
}

func (w *writer) mkdir(p string) error {
	fi, err := w.root.Lstat(p)
	switch {
	case err == nil && fi.IsDir():
		return w.root.Chmod(p, 0o700)
	case err == nil:
		if err := w.root.Remove(p); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return w.root.Mkdir(p, 0o700)
}

func (w *writer) put(p string, n *tree.Node) error {
	if err := w.root.RemoveAll(p); err != nil {
		return err
	}
	if first, ok := w.links[n.Group()]; ok && n.Group() != 0 {
		return w.root.Link(first, p)
	}
	var err error
	switch n.Kind() {
	case tree.File:
		err = w.file(p, n)
	case tree.Symlink:
		err = w.root.Symlink(n.Target(), p)
	default:
		err = w.special(p, n)
	}
	if err != nil {
		return err
	}
	if n.Group() != 0 {
		w.links[n.Group()] = p
	}
	return w.meta(p, n)
}

func (w *writer) file(p string, n *tree.Node) error {
	out, err := w.root.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	in, err := w.files.open(n.Content())
	if err != nil {
		return errors.Join(err, out.Close())
	}
	defer in.Close()
	copied, err := io.Copy(out, in)
	if err == nil && copied != n.Size() {
		err = fmt.Errorf("%d bytes instead of %d", copied, n.Size())
	}
	return errors.Join(err, out.Close())
}

// meta sets owner, mode, attributes and time, in this order: changing the owner takes
// set-user-ID away.
func (w *writer) meta(p string, n *tree.Node) error {
	m := n.Meta()
	if w.owner {
		if err := w.root.Lchown(p, int(m.UID), int(m.GID)); err != nil {
			return err
		}
	}
	if n.Kind() == tree.Symlink {
		return w.linkTime(p, m.Mtime)
	}
	if err := w.attributes(p, m); err != nil {
		return err
	}
	if err := w.root.Chmod(p, fileMode(m.Mode)); err != nil {
		return err
	}
	t := time.Unix(0, m.Mtime)
	return w.root.Chtimes(p, t, t)
}

func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m
}
