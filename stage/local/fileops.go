package local

import (
	"crypto/sha256"
	"fmt"
	"path"
	"strings"

	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// writeFile is a FileOp on a tree. Links above the path are followed inside the
// root; what is at the path itself is replaced.
func writeFile(base *tree.Node, op *stage.FileOp, a attributes) (*tree.Node, error) {
	meta := a.parent()
	meta.Mode = op.Mode
	return put(base, op.Path, a.epoch, tree.NewFile(meta, sha256.Sum256(op.Content), int64(len(op.Content)), 0))
}

func makeSymlink(base *tree.Node, op *stage.SymlinkOp, epoch int64) (*tree.Node, error) {
	return put(base, op.Path, epoch, tree.NewSymlink(tree.Meta{Mode: 0o777, Mtime: epoch}, op.Target))
}

// put places a node that is no directory, and makes the directories above it.
func put(base *tree.Node, p string, epoch int64, n *tree.Node) (*tree.Node, error) {
	e := tree.Edit(base)
	at, err := makeParents(e, p, tree.Meta{Mode: 0o755, Mtime: epoch})
	if err != nil {
		return nil, err
	}
	there := e.Lookup(at)
	if there != nil && there.IsDir() {
		return nil, fmt.Errorf("%q is a directory", p)
	}
	if there != nil && same(there, n) {
		return base, nil
	}
	if err := e.Put(at, n); err != nil {
		return nil, err
	}
	return e.Tree(), nil
}

// makeParents makes the directories above a path and returns where the path is.
func makeParents(e *tree.Editor, p string, meta tree.Meta) (string, error) {
	dir, name := path.Split(strings.Trim(p, "/"))
	at, n, err := destination(e, strings.Trim(dir, "/"))
	if err != nil {
		return "", err
	}
	if n != nil && !n.IsDir() {
		return "", fmt.Errorf("%q is a %s, not a directory", "/"+at, n.Kind())
	}
	if err := e.MkdirAll(at, meta); err != nil {
		return "", err
	}
	return tree.Join(at, name), nil
}

// makeDirectory makes a directory where none is, with what is missing above it.
// made is the metadata of every directory that it makes but the last.
func makeDirectory(base *tree.Node, p string, made, last tree.Meta) (*tree.Node, error) {
	e := tree.Edit(base)
	if err := editDirectory(e, p, made, last); err != nil {
		return nil, err
	}
	return e.Tree(), nil
}

func editDirectory(e *tree.Editor, p string, made, last tree.Meta) error {
	at, n, err := destination(e, strings.Trim(p, "/"))
	if err != nil {
		return err
	}
	if n != nil {
		if !n.IsDir() {
			return fmt.Errorf("%q is a %s, not a directory", "/"+at, n.Kind())
		}
		return nil
	}
	dir, _ := path.Split(at)
	if err := e.MkdirAll(strings.TrimSuffix(dir, "/"), made); err != nil {
		return err
	}
	return e.Put(at, tree.NewDir(last))
}

func remove(base *tree.Node, op *stage.RemoveOp) (*tree.Node, error) {
	e := tree.Edit(base)
	at, n, err := e.Resolve(strings.Trim(op.Path, "/"), false)
	if isNotThere(err) || err == nil && n == nil {
		if op.Optional {
			return base, nil
		}
		return nil, fmt.Errorf("%q does not exist; use stage.MayBeAbsent to allow that", op.Path)
	}
	if err != nil {
		return nil, err
	}
	if err := e.Remove(at); err != nil {
		return nil, err
	}
	return e.Tree(), nil
}
