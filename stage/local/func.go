package local

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/stagewright/stagewright/internal/filemode"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// performFunc finds the result of a function by the files that it sees, or calls it.
func (s *session) performFunc(ctx context.Context, d *demand, step *stage.Step, op *stage.FuncOp, parent *tree.Node, began *time.Time) (*outcome, stage.Status, error) {
	return s.onceByContent(ctx, d, step, parent, nil, began, func(ctx context.Context, d *demand) (*outcome, error) {
		return s.call(ctx, d, step, op, parent)
	})
}

// call calls the function.
func (s *session) call(ctx context.Context, d *demand, step *stage.Step, op *stage.FuncOp, parent *tree.Node) (*outcome, error) {
	files := tree.FS(parent, func(digest tree.Digest) (io.ReadCloser, error) {
		open, err := s.locate(ctx, d, step.Parent, digest)
		if err != nil {
			return nil, err
		}
		return open()
	})
	return s.changeFiles(ctx, parent, func(pack *packWriter) (*tree.Node, error) {
		w := &funcWriter{e: tree.Edit(parent), pack: pack, epoch: s.epoch()}
		if err := op.Do(ctx, files, w); err != nil {
			return nil, err
		}
		return w.e.Tree(), nil
	})
}

// funcWriter is the Writer of a function step. Links of a path are followed inside the
// root, except at its last element, as for stage.File. A call that fails changes nothing.
type funcWriter struct {
	e     *tree.Editor
	pack  *packWriter
	epoch int64
}

// cleanPath makes a path absolute and clean.
func cleanPath(p string) (string, error) {
	if clean := path.Clean("/" + p); clean != "/" && !strings.ContainsRune(p, 0) {
		return clean, nil
	}
	return "", fmt.Errorf("path %q: %w", p, fs.ErrInvalid)
}

// put replaces what is at a path.
func (w *funcWriter) put(p string, n *tree.Node) error {
	at, err := makeParents(w.e, p, tree.Meta{Mode: 0o755, Mtime: w.epoch})
	if err != nil {
		return err
	}
	there := w.e.Lookup(at)
	if there.IsDir() {
		return fmt.Errorf("%q is a directory", p)
	}
	if there != nil && same(there, n) {
		return nil
	}
	return w.e.Put(at, n)
}

func (w *funcWriter) WriteFile(p string, mode fs.FileMode, content io.Reader) error {
	p, err := cleanPath(p)
	if err != nil {
		return err
	}
	digest, size, err := w.pack.add(content)
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	return w.put(p, tree.NewFile(tree.Meta{Mode: filemode.Bits(mode), Mtime: w.epoch}, digest, size, 0))
}

func (w *funcWriter) Symlink(target, p string) error {
	p, err := cleanPath(p)
	if err != nil {
		return err
	}
	if target == "" || strings.ContainsRune(target, 0) || len(target) > tree.MaxPath {
		return fmt.Errorf("link %s to %.200q: %w", p, target, fs.ErrInvalid)
	}
	return w.put(p, tree.NewSymlink(tree.Meta{Mode: 0o777, Mtime: w.epoch}, target))
}

func (w *funcWriter) Mkdir(p string, mode fs.FileMode) error {
	p, err := cleanPath(p)
	if err != nil {
		return err
	}
	made := tree.Meta{Mode: 0o755, Mtime: w.epoch}
	last := made
	last.Mode = filemode.Bits(mode)
	return editDirectory(w.e, p, made, last)
}

func (w *funcWriter) Remove(p string) error {
	p, err := cleanPath(p)
	if err != nil {
		return err
	}
	at, n, err := w.e.Resolve(p[1:], false)
	if isNotThere(err) || err == nil && n == nil {
		return fmt.Errorf("remove %s: %w", p, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	return w.e.Remove(at)
}
