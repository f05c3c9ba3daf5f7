package layertar

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/stagewright/stagewright/internal/tree"
)

// An Index is what a layer does to a tree and where in the tar its files are.
type Index struct {
	// Changes in the order of tree.Walk; hard-link groups are within this list.
	Changes []tree.Change
	// Links are the hard links to files of lower layers, in order of Path. They
	// cannot be changes, for their content is not known from this layer alone.
	Links []Link
	// Offsets of the first byte of each file's data in the uncompressed tar, by path.
	// Hard links have the offset of their file.
	Offsets map[string]int64
	Size    int64       // bytes of the uncompressed tar
	DiffID  tree.Digest // their digest, as in the config of an image
}

// A Link says that Path is a hard link of Target, a path of a lower layer.
type Link struct{ Path, Target string }

// Apply returns root, the tree of the lower layers, with the layer on top. It is
// [tree.Apply] and then the Links: a link's target is looked up in root, with
// symbolic links in its parents followed inside it, and both become one hard-link
// set. A target that is not there is an *[EntryError] with [fs.ErrNotExist].
//
// To have changes without Links, for a directory on disk say, take
// tree.Diff(root, result).
func (x *Index) Apply(root *tree.Node) (*tree.Node, error) {
	after, err := tree.Apply(root, x.Changes)
	if err != nil || len(x.Links) == 0 {
		return after, err
	}
	if root == nil {
		root = tree.Edit(nil).Tree()
	}
	e := tree.Edit(after)
	groups := map[string]uint64{} // by target
	for _, l := range x.Links {
		target, n, err := tree.Resolve(root, l.Target, false)
		if err == nil && n == nil {
			err = fs.ErrNotExist
		}
		if err == nil && n.Kind() == tree.Dir {
			err = ErrUnsupported
		}
		if err != nil {
			return nil, &EntryError{l.Path, fmt.Errorf("hard link to %.200q in the lower layers: %w", l.Target, err)}
		}
		if err := linkLower(e, groups, l.Path, target, n); err != nil {
			return nil, err
		}
	}
	return e.Tree(), nil
}

// linkLower puts n, which lower layers have at target, at path too, as one set where target is still that file.
func linkLower(e *tree.Editor, groups map[string]uint64, path, target string, n *tree.Node) error {
	if n.Kind() == tree.File {
		g, seen := groups[target]
		if !seen {
			if g = n.Group(); g == 0 {
				g = e.NewGroup()
			}
			groups[target] = g
		}
		if now := e.Lookup(target); now != nil && now.Kind() == tree.File && sameFile(now, n) && now.Group() == n.Group() {
			if err := e.Put(target, now.WithGroup(g)); err != nil {
				return err
			}
		}
		n = n.WithGroup(g)
	}
	dir, name := splitLast(path)
	at, parent, err := e.Resolve(dir, true)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && parent == nil:
		if err == nil {
			dir = at
		}
		if err := e.MkdirAll(dir, tree.Meta{Mode: 0o755}); err != nil {
			return err
		}
		at = dir
	case err != nil:
		return err
	}
	return e.Put(tree.Join(at, name), n)
}

// Opener returns the bytes of the layer's files out of the uncompressed tar.
// They are as they are in r now: whoever needs certainty compares digests, as [Write] does.
// A digest that is not in the layer is [fs.ErrNotExist].
func (x *Index) Opener(r io.ReaderAt) tree.Opener {
	type span struct{ offset, size int64 }
	spans := make(map[tree.Digest]span, len(x.Offsets))
	for _, c := range x.Changes {
		if c.Node != nil && c.Node.Kind() == tree.File {
			spans[c.Node.Content()] = span{x.Offsets[c.Path], c.Node.Size()}
		}
	}
	return func(d tree.Digest) (io.ReadCloser, error) {
		s, ok := spans[d]
		if !ok {
			return nil, fmt.Errorf("%v in the layer %v: %w", d, x.DiffID, fs.ErrNotExist)
		}
		return io.NopCloser(io.NewSectionReader(r, s.offset, s.size)), nil
	}
}
