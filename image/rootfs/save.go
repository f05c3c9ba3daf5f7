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
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image/internal/atomicfile"
	"github.com/stagewright/stagewright/internal/filemode"
	"github.com/stagewright/stagewright/internal/tree"
)

// Save writes one file, or one directory with all that is in it, out of a file system to the path dest, which gets its name. Directories
// above dest are made.
//
// The path is slash separated, from the root of the file system, with or without a slash before it; "." is all of it. A symbolic link
// there is followed inside the file system; those below a directory are written as the links that they are, wherever they lead. Modes
// and times are kept. Of the files of a build (stagewright.Result, [stage.Result]) so are hard links, owners, attributes and devices, as
// far as [Dir] keeps them; another file system does not tell of them.
//
// What is at dest appears complete or not at all, and nothing is written elsewhere. It must not be there yet, except that a directory may
// take the place of an empty one: the error wraps [ErrNotEmpty] for a directory that has files and fs.ErrExist for a file. An error
// wraps fs.ErrNotExist when the path is not there.
func Save(ctx context.Context, fsys fs.FS, from, dest string) error {
	if err := save(ctx, fsys, from, dest); err != nil {
		return fmt.Errorf("saving %s to %s: %w", from, dest, err)
	}
	return nil
}

func save(ctx context.Context, fsys fs.FS, from, dest string) error {
	if dest == "" {
		return errors.New("no destination; name a file or a directory")
	}
	if from == "" {
		return errors.New(`no path; write "." for all files`)
	}
	name := cmp.Or(strings.TrimPrefix(path.Clean("/"+from), "/"), ".")
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return advise(fsys, name, err)
	}
	w := &writer{ctx: ctx, open: func(p string, _ *tree.Node) (io.ReadCloser, error) { return fsys.Open(path.Join(name, p)) }}
	node, ok := info.Sys().(*tree.Node)
	if ok {
		w.owner = os.Geteuid() == 0
	} else if node, err = describe(ctx, fsys, name, info); err != nil {
		return err
	}
	if node.IsDir() {
		return replaceDir(dest, "or a directory in it", func(work string) error {
			if err := os.MkdirAll(work, 0o700); err != nil {
				return err
			}
			return w.writeTree(work, "", node)
		})
	}
	return w.saveFile(dest, node)
}

// advise adds to the error of a path that is not there what is.
func advise(fsys fs.FS, name string, err error) error {
	dir, base := path.Split(name)
	entries, listErr := fs.ReadDir(fsys, cmp.Or(path.Clean(dir), "."))
	if !errors.Is(err, fs.ErrNotExist) || listErr != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	const most = 8
	switch near := arg.Near(base, names); {
	case len(near) > 0:
		return fmt.Errorf("%w; did you mean /%s?", err, path.Join(dir, near[0]))
	case len(names) == 0:
		return fmt.Errorf("%w; the directory /%s is empty", err, strings.TrimSuffix(dir, "/"))
	case len(names) > most:
		names = append(names[:most], "…")
	}
	return fmt.Errorf("%w; the directory /%s has %s", err, strings.TrimSuffix(dir, "/"), strings.Join(names, ", "))
}

// saveFile writes a node that is no directory. It is made in a directory of its own, beside dest.
func (w *writer) saveFile(dest string, node *tree.Node) (err error) {
	switch fi, err := os.Lstat(dest); {
	case err == nil && fi.IsDir():
		return fmt.Errorf("there is a directory of that name: %w; name the file in it, or remove it", fs.ErrExist)
	case err == nil:
		return fmt.Errorf("there is a file of that name: %w; name a new one, or remove it", fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	undo, err := atomicfile.MakeParents(dest)
	if err != nil {
		return err
	}
	work := atomicfile.TempPath(filepath.Dir(filepath.Clean(dest)))
	defer func() {
		err = errors.Join(err, os.RemoveAll(work))
		if err != nil {
			undo()
		}
	}()
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	const name = "file"
	if err := w.writeTree(work, name, node); err != nil {
		return err
	}
	return os.Rename(filepath.Join(work, name), dest)
}

// describe lists what is at a path of a file system that is none of ours.
func describe(ctx context.Context, fsys fs.FS, name string, info fs.FileInfo) (*tree.Node, error) {
	top, err := nodeOf(fsys, name, info)
	if err != nil || !top.IsDir() {
		return top, err
	}
	all := tree.Edit(top)
	var list func(rel string) error
	list = func(rel string) error {
		entries, err := fs.ReadDir(fsys, path.Join(name, rel))
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return err
		}
		for _, d := range entries {
			at := path.Join(rel, d.Name())
			if d.Name() == "" || d.Name() != path.Base(at) {
				return fmt.Errorf("%s: the file system lists a file named %q", path.Join(name, rel), d.Name())
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			n, err := nodeOf(fsys, path.Join(name, at), fi)
			if err != nil {
				return err
			}
			if err := all.Put(at, n); err != nil {
				return err
			}
			if n.IsDir() {
				if err := list(at); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err = list("")
	return all.Tree(), err
}

func nodeOf(fsys fs.FS, name string, fi fs.FileInfo) (*tree.Node, error) {
	m := tree.Meta{Mode: filemode.Bits(fi.Mode())}
	if t := fi.ModTime(); !t.IsZero() {
		m.Mtime = t.UnixNano()
	}
	switch fi.Mode().Type() {
	case 0:
		return tree.NewFile(m, tree.Digest{}, fi.Size(), 0), nil
	case fs.ModeDir:
		return tree.NewDir(m), nil
	case fs.ModeSymlink:
		target, err := fs.ReadLink(fsys, name)
		return tree.NewSymlink(m, target), err
	}
	return nil, &fs.PathError{Op: "save", Path: name, Err: fmt.Errorf("it is %s: %w", fi.Mode().Type(), errors.ErrUnsupported)}
}
