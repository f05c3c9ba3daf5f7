package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/stagewright/stagewright/internal/tree"
)

func isNotThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, tree.ErrNotDir)
}

// attributes are what a copy gives to the files that it makes.
type attributes struct {
	epoch int64
	owner *owner      // nil keeps the source's
	mode  *modeChange // nil keeps the source's
}

type owner struct{ uid, gid uint32 }

// of returns the metadata that a copy of n gets.
func (a attributes) of(n *tree.Node) tree.Meta {
	m := n.Meta()
	m.Mtime = a.epoch
	if a.owner != nil {
		m.UID, m.GID = a.owner.uid, a.owner.gid
	}
	if a.mode != nil && n.Kind() != tree.Symlink {
		m.Mode = a.mode.of(m.Mode, n.IsDir())
	}
	return m
}

// parent is the metadata of directories that are made on the way.
func (a attributes) parent() tree.Meta {
	m := tree.Meta{Mode: 0o755, Mtime: a.epoch}
	if a.owner != nil {
		m.UID, m.GID = a.owner.uid, a.owner.gid
	}
	return m
}

// copier copies files of one source tree into one stage, by Docker's rules
// (docs.docker.com/reference/dockerfile, COPY).
type copier struct {
	attributes
	to    *tree.Editor
	graft *tree.Graft
}

// copyAll copies what was found to dest, an absolute path whose trailing slash
// says that it is a directory.
func copyAll(base *tree.Node, list []found, dest string, a attributes) (*tree.Node, error) {
	e := tree.Edit(base)
	c := &copier{attributes: a, to: e, graft: e.Graft()}
	directory := strings.HasSuffix(dest, "/")
	if len(list) > 1 && !directory {
		return nil, fmt.Errorf("the pattern matches %d files, but the destination %q is not a directory; end it in \"/\"", len(list), dest)
	}
	at, n, err := destination(e, strings.Trim(dest, "/"))
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		switch {
		case f.node.IsDir():
			err = c.directory(f.node, at)
		case directory || n != nil && n.IsDir():
			err = c.file(f.node, tree.Join(at, path.Base(f.name)))
		default:
			err = c.file(f.node, at)
		}
		if err != nil {
			return nil, err
		}
	}
	return e.Tree(), nil
}

// maxLinks is how many links a destination may lead over, as for a path in Linux.
const maxLinks = 255

// destination follows the links of a path inside the root, also one that leads to
// what does not exist, and returns where a file of that path is written. What is
// missing is not made.
func destination(e *tree.Editor, p string) (string, *tree.Node, error) {
	at, n := "", e.Lookup("")
	links := 0
	for rest := p; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		switch name {
		case "", ".":
			continue
		case "..":
			if at = path.Dir(at); at == "." {
				at = ""
			}
			n = e.Lookup(at)
			continue
		}
		if n != nil && !n.IsDir() {
			return "", nil, fmt.Errorf("destination %q: %q is a %s, not a directory", "/"+p, "/"+at, n.Kind())
		}
		here := tree.Join(at, name)
		next := e.Lookup(here)
		if next == nil || next.Kind() != tree.Symlink {
			at, n = here, next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("destination %q: %w", "/"+p, tree.ErrLoop)
		}
		rest = next.Target() + "/" + rest
		if strings.HasPrefix(rest, "/") {
			at, n = "", e.Lookup("")
		}
	}
	return at, n, nil
}

// file puts one file, link or special file at an exact path.
func (c *copier) file(n *tree.Node, at string) error {
	dir, _ := path.Split(at)
	if err := c.to.MkdirAll(strings.TrimSuffix(dir, "/"), c.parent()); err != nil {
		return err
	}
	there := c.to.Lookup(at)
	if there != nil && there.IsDir() {
		return fmt.Errorf("cannot replace the directory %q by a %s", "/"+at, n.Kind())
	}
	copied := n.WithMeta(c.of(n))
	if there != nil && same(there, copied) {
		return nil
	}
	return c.graft.Put(at, copied)
}

// same reports whether two files differ in nothing but their modification time.
func same(a, b *tree.Node) bool {
	return a.Group() == 0 && b.Group() == 0 && a.Key() == b.Key()
}

// directory copies the contents of a directory, never itself: an existing
// destination keeps its mode and owner.
func (c *copier) directory(n *tree.Node, at string) error {
	there := c.to.Lookup(at)
	if there != nil && !there.IsDir() {
		return fmt.Errorf("cannot copy a directory onto %q, which is a %s", "/"+at, there.Kind())
	}
	if err := c.to.MkdirAll(at, c.parent()); err != nil {
		return err
	}
	return c.merge(n, at)
}

func (c *copier) merge(n *tree.Node, at string) error {
	for name, child := range n.All() {
		to := tree.Join(at, name)
		if !child.IsDir() {
			if err := c.nested(child, to); err != nil {
				return err
			}
			continue
		}
		there := c.to.Lookup(to)
		meta := c.of(child)
		switch {
		case there == nil:
			if err := c.graft.Put(to, tree.NewDir(meta)); err != nil {
				return err
			}
		case !there.IsDir():
			return fmt.Errorf("cannot copy a directory onto %q, which is a %s", "/"+to, there.Kind())
		default:
			was := there.Meta()
			if now := meta; !was.Equal(withMtime(now, was.Mtime)) {
				if err := c.to.SetMeta(to, now); err != nil {
					return err
				}
			}
		}
		if err := c.merge(child, to); err != nil {
			return err
		}
	}
	return nil
}

// nested puts a file found inside a copied directory. Unlike a destination, a link
// that is in its place is replaced, not followed.
func (c *copier) nested(n *tree.Node, at string) error {
	there := c.to.Lookup(at)
	if there != nil && there.IsDir() {
		return fmt.Errorf("cannot replace the directory %q by a %s", "/"+at, n.Kind())
	}
	copied := n.WithMeta(c.of(n))
	if there != nil && same(there, copied) {
		return nil
	}
	return c.graft.Put(at, copied)
}

func withMtime(m tree.Meta, mtime int64) tree.Meta {
	m.Mtime = mtime
	return m
}
