package rootfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/stagewright/stagewright/image/internal/content"
	"github.com/stagewright/stagewright/internal/filemode"
	"github.com/stagewright/stagewright/internal/tree"
)

// writer puts files into a directory. All names go through an os.Root, so that no
// link leads out of it.
type writer struct {
	ctx   context.Context //nolint:containedctx // lives as long as one call of writeTree
	root  *os.Root
	open  func(p string, n *tree.Node) (io.ReadCloser, error)
	owner bool              // the ids of files can be set, and are known
	links map[uint64]string // the first name of each hard-link set
}

// writeDir writes all files of an image to an existing directory.
func writeDir(ctx context.Context, dir string, f *flat) error {
	w := &writer{ctx: ctx, owner: os.Geteuid() == 0, open: func(_ string, n *tree.Node) (io.ReadCloser, error) { return f.open(n.Content()) }}
	return w.writeTree(dir, "", f.root)
}

// writeTree writes a node, and all that is below it, to the path top in an existing directory; "" is the directory itself.
func (w *writer) writeTree(dir, top string, node *tree.Node) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	w.root, w.links = root, map[uint64]string{}
	type entry struct {
		path string
		node *tree.Node
	}
	var dirs []entry
	for p, n := range tree.Walk(node) {
		if err := context.Cause(w.ctx); err != nil {
			return err
		}
		at := cmp.Or(path.Join(top, p), ".")
		if n.IsDir() {
			dirs = append(dirs, entry{at, n})
			err = w.mkdir(at)
		} else {
			err = w.put(at, p, n)
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

// put writes what is no directory to p; from is its path in the source.
func (w *writer) put(p, from string, n *tree.Node) error {
	if err := w.root.RemoveAll(p); err != nil {
		return err
	}
	if first, ok := w.links[n.Group()]; ok && n.Group() != 0 {
		return w.root.Link(first, p)
	}
	var err error
	switch n.Kind() {
	case tree.File:
		err = w.file(p, from, n)
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

func (w *writer) file(p, from string, n *tree.Node) error {
	out, err := w.root.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	in, err := w.open(from, n)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	defer in.Close()
	copied, err := io.Copy(out, content.NewReader(w.ctx, in))
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
	if err := w.root.Chmod(p, filemode.FS(m.Mode)); err != nil {
		return err
	}
	t := time.Unix(0, m.Mtime)
	return w.root.Chtimes(p, t, t)
}
