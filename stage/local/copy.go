package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/stagewright/stagewright/internal/filemode"
	"github.com/stagewright/stagewright/internal/tree"
)

func isNotThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, tree.ErrNotDir)
}

// attributes are what a copy gives to the files that it makes.
type attributes struct {
	epoch   int64
	owner   *owner           // nil keeps the source's
	mode    *filemode.Change // nil keeps the source's
	dirMode *filemode.Change // of directories; nil is mode
}

type owner struct{ uid, gid uint32 }

// of returns the metadata that a copy of n gets.
func (a attributes) of(n *tree.Node) tree.Meta { return a.adjust(n.Kind(), n.Meta()) }

func (a attributes) adjust(k tree.Kind, m tree.Meta) tree.Meta {
	m.Mtime = a.epoch
	if a.owner != nil {
		m.UID, m.GID = a.owner.uid, a.owner.gid
	}
	change := a.mode
	if k == tree.Dir && a.dirMode != nil {
		change = a.dirMode
	}
	if change != nil && k != tree.Symlink {
		m.Mode = change.Of(m.Mode, k == tree.Dir)
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

// placer puts what a copy selects into the files of a stage.
type placer interface {
	place(f found) error
	// extract unpacks an archive where the copy leads.
	extract(*archive) error
}

// copier is the placer of the Go API: Docker's rules
// (docs.docker.com/reference/dockerfile, COPY), except that what surprises there is an
// error.
type copier struct {
	attributes
	to        *tree.Editor
	graft     *tree.Graft
	at        string // where the destination leads
	directory bool   // it is one, or becomes one
}

// newCopier begins to copy to dest, an absolute path whose trailing slash says that it
// is a directory.
func newCopier(e *tree.Editor, dest string, several bool, a attributes) (*copier, error) {
	c := &copier{attributes: a, to: e, graft: e.Graft(), directory: strings.HasSuffix(dest, "/")}
	if several && !c.directory {
		return nil, fmt.Errorf("several files are copied, but the destination %q is not a directory; end it in \"/\"", dest)
	}
	var n *tree.Node
	var err error
	c.at, n, err = destination(e, strings.Trim(dest, "/"))
	c.directory = c.directory || n.IsDir()
	return c, err
}

func (c *copier) place(f found) error {
	switch {
	case len(f.above) > 0:
		return c.placeBelow(f)
	case f.node.IsDir():
		return c.contents(f.node, c.at)
	case c.directory && f.noName:
		return &fixError{errors.New("neither the URL nor its server gives the file a name"), "end the destination with a file name, or set HTTPSource.Name"}
	case c.directory:
		return c.file(f.node, tree.Join(c.at, f.base()))
	}
	return c.file(f.node, c.at)
}

// placeBelow copies with the directories of the name, which are like copied ones where
// they are missing.
func (c *copier) placeBelow(f found) error {
	if err := c.to.MkdirAll(c.at, c.parent()); err != nil {
		return err
	}
	at, rest := c.at, f.name
	for _, dir := range f.above {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		at = tree.Join(at, name)
		switch there := c.to.Lookup(at); {
		case there == nil:
			if err := c.graft.Put(at, tree.NewDir(c.of(dir))); err != nil {
				return err
			}
		case !there.IsDir():
			return fmt.Errorf("cannot copy a directory onto %q, which is a %s", "/"+at, there.Kind())
		}
	}
	return c.nested(f.node, tree.Join(at, rest))
}

func (c *copier) extract(a *archive) error {
	if err := c.to.MkdirAll(c.at, c.parent()); err != nil {
		return err
	}
	return a.unpack(c.to, c.at, c.adjust, tree.Meta{Mode: 0o755, Mtime: c.epoch})
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
	return c.nested(n, at)
}

// same reports whether two files differ in nothing but their modification time.
func same(a, b *tree.Node) bool {
	return a.Group() == 0 && b.Group() == 0 && a.Key() == b.Key()
}

// contents copies the contents of a directory, never itself: an existing
// destination keeps its mode and owner.
func (c *copier) contents(n *tree.Node, at string) error {
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
		if err := c.nested(child, tree.Join(at, name)); err != nil {
			return err
		}
	}
	return nil
}

// nested puts what is found inside a copied directory. Unlike a destination, a link
// that is in its place is replaced, not followed.
func (c *copier) nested(n *tree.Node, at string) error {
	there := c.to.Lookup(at)
	if !n.IsDir() {
		if there.IsDir() {
			return fmt.Errorf("cannot replace the directory %q by a %s", "/"+at, n.Kind())
		}
		copied := n.WithMeta(c.of(n))
		if there != nil && same(there, copied) {
			return nil
		}
		return c.graft.Put(at, copied)
	}
	switch {
	case there == nil:
		if err := c.graft.Put(at, tree.NewDir(c.of(n))); err != nil {
			return err
		}
	case !there.IsDir():
		return fmt.Errorf("cannot copy a directory onto %q, which is a %s", "/"+at, there.Kind())
	default:
		if err := setMeta(c.to, at, there, c.of(n)); err != nil {
			return err
		}
	}
	return c.merge(n, at)
}

// setMeta changes the metadata of a directory, unless only the time differs.
func setMeta(e *tree.Editor, at string, there *tree.Node, m tree.Meta) error {
	was := there.Meta()
	now := m
	now.Mtime = was.Mtime
	if was.Equal(now) {
		return nil
	}
	return e.SetMeta(at, m)
}
