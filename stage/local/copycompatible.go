package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/internal/tree"
)

// compatible is the placer that does what BuildKit does with the same instruction, also
// where that surprises: of several sources for one path the last stays, an octal mode is
// also that of the directories made on the way, a directory that is there already takes
// mode and owner of the copied one unless it is the destination itself.
type compatible struct {
	attributes
	to   *tree.Editor
	dest string // absolute and clean, but for a slash or "/." at its end
	// whole copies a directory itself, not what is in it, which a destination that
	// is there takes inside: of ADD with a git repository, whose name is empty.
	whole bool
}

// of is attributes.of, less the extended attributes that BuildKit writes to no layer: all
// but those of capabilities(7).
func (c *compatible) of(n *tree.Node) tree.Meta {
	m := c.attributes.of(n)
	if slices.ContainsFunc(m.Xattrs, isDropped) {
		m.Xattrs = slices.DeleteFunc(slices.Clone(m.Xattrs), isDropped)
	}
	return m
}

func isDropped(x tree.Xattr) bool { return x.Name != "security.capability" }

// made is the metadata of directories that are made on the way.
func (c *compatible) made() tree.Meta {
	m := c.parent()
	if c.mode == nil {
		return m
	}
	if mode, ok := c.mode.Absolute(); ok {
		m.Mode = mode & 0o777
	}
	return m
}

func (c *compatible) mkdirAll(at string, m tree.Meta) error {
	return c.to.MkdirAll(at, inherited(c.to, at, m, c.owner != nil))
}

// inherited is m for directories made at a path as mkdir(2) makes them: in one with the
// set-group-ID bit they have the bit, and its group unless they are given an owner.
func inherited(e *tree.Editor, at string, m tree.Meta, owned bool) tree.Meta {
	n := e.Lookup(at)
	for n == nil && at != "" {
		dir, _ := path.Split(at)
		at = strings.TrimSuffix(dir, "/")
		n = e.Lookup(at)
	}
	if n.IsDir() && n.Meta().Mode&0o2000 != 0 {
		m.Mode |= 0o2000
		if !owned {
			m.GID = n.Meta().GID
		}
	}
	return m
}

func (c *compatible) place(f found) error {
	above := c.dest
	if dir, last := path.Split(c.dest); last != "" && last != "." {
		above = dir
	}
	at, _, err := compatibleDestination(c.to, above)
	if err != nil {
		return err
	}
	if err := c.mkdirAll(at, c.made()); err != nil {
		return err
	}
	at, there, err := compatibleDestination(c.to, c.dest)
	if err != nil {
		return err
	}
	inside := there.IsDir() && !f.node.IsDir() || there != nil && f.node.IsDir() && c.whole
	if inside && f.base() != "" {
		at = tree.Join(at, f.base())
	}
	needed := at
	if !f.node.IsDir() || c.whole || there != nil {
		needed, _ = path.Split(at)
	}
	if err := c.mkdirAll(strings.TrimSuffix(needed, "/"), c.made()); err != nil {
		return err
	}
	for _, rel := range f.looked {
		p := tree.Join(at, rel)
		_, n, err := c.to.Resolve(p, true)
		if n != nil && !n.IsDir() || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot look into %q, which is not a directory, for what is in the copied one", "/"+p)
		}
	}
	return (&compatibleCopy{c, c.to.Graft(), f.passage}).put(f.node, at, "")
}

func (c *compatible) extract(a *archive) error {
	at, _, err := compatibleDestination(c.to, c.dest)
	if err != nil {
		return err
	}
	if err := c.mkdirAll(at, c.parent()); err != nil {
		return err
	}
	owned := attributes{epoch: c.epoch, owner: c.owner}
	a.chroot = true
	return a.unpack(c.to, at, owned.adjust, tree.Meta{Mode: 0o755, Mtime: c.epoch})
}

// compatibleCopy is the copy of one source. Only within it do hard links stay.
type compatibleCopy struct {
	*compatible
	graft   *tree.Graft
	passage map[string]bool
}

// put copies n, which has the path rel below the source, to at.
func (c *compatibleCopy) put(n *tree.Node, at, rel string) error {
	there := c.to.Lookup(at)
	if !n.IsDir() {
		if there.IsDir() {
			return fmt.Errorf("cannot replace to directory %q with file", "/"+at)
		}
		copied := n.WithMeta(c.of(n))
		if n.Kind() == tree.BlockDevice {
			// BuildKit clears the bits of the type of sockets in the mode that it gives to
			// mknod(2), and with them one of the two bits of block devices.
			major, minor := n.Device()
			copied = tree.NewDevice(tree.CharDevice, copied.Meta(), major, minor)
		}
		if there != nil && same(there, copied) {
			return nil
		}
		return c.graft.Put(at, copied)
	}
	if err := c.directory(n, there, at, rel); err != nil {
		return err
	}
	for name, child := range n.All() {
		if err := c.put(child, tree.Join(at, name), tree.Join(rel, name)); err != nil {
			return err
		}
	}
	return nil
}

// directory makes a directory, or changes the one that is there.
func (c *compatibleCopy) directory(n, there *tree.Node, at, rel string) error {
	switch {
	case there == nil:
		return c.graft.Put(at, tree.NewDir(c.of(n)))
	case !there.IsDir():
		return fmt.Errorf("cannot copy to non-directory: %q is a %s", "/"+at, there.Kind())
	case rel == "":
		return nil
	}
	m := there.Meta()
	if c.passage[rel] {
		m.Mode = n.Meta().Mode
	} else {
		xattrs := m.Xattrs
		m = c.of(n)
		m.Xattrs = slices.Concat(xattrs, m.Xattrs)
	}
	return setMeta(c.to, at, there, m)
}

// compatibleDestination is destination as BuildKit finds it, by names: ".." in a link
// takes away the name before it, whatever that is.
func compatibleDestination(e *tree.Editor, p string) (string, *tree.Node, error) {
	at, n := "", e.Lookup("")
	links := 0
	for rest := strings.TrimPrefix(path.Clean("/"+p), "/"); rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if n != nil && !n.IsDir() {
			return "", nil, fmt.Errorf("destination %q: %q is a %s, not a directory", p, "/"+at, n.Kind())
		}
		here := tree.Join(at, name)
		next := e.Lookup(here)
		if next == nil || next.Kind() != tree.Symlink {
			at, n = here, next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("destination %q: %w", p, tree.ErrLoop)
		}
		target := next.Target()
		if !strings.HasPrefix(target, "/") {
			target = "/" + at + "/" + target
		}
		rest = strings.TrimPrefix(path.Clean(target+"/"+rest), "/")
		at, n = "", e.Lookup("")
	}
	return at, n, nil
}
