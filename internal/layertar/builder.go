package layertar

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/internal/tree"
)

// A builder collects the entries of one layer in a tree of records.
type builder struct {
	lim      Limits
	archive  bool // names have no meaning, and there are no lower layers
	root     *record
	entries  int
	metadata int64
	groups   uint64
}

// A record is what a layer says about one path. A record with neither node nor
// link is a directory that is only implied by the paths of others, or only a whiteout.
type record struct {
	node   *tree.Node
	link   string // path of a lower layer that this is a hard link of
	hidden bool   // a whiteout hides what lower layers have here
	opaque bool   // a marker hides the children that lower layers have
	offset int64
	kids   map[string]*record
}

// set reports whether the record stands for more than a place.
func (r *record) set() bool { return r.node != nil || r.link != "" }

// find returns the record of path, nil when there is none.
func (b *builder) find(path string) *record {
	r := b.root
	for rest := path; rest != "" && r != nil; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		r = r.kids[name]
	}
	return r
}

// make returns the record of path and makes it and its parents where they are missing.
func (b *builder) make(path string) (*record, error) {
	r := b.root
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if r.link != "" || r.node != nil && r.node.Kind() != tree.Dir && r.node.Kind() != tree.Symlink {
			return nil, fmt.Errorf("%w: %.40q is below a name that is no directory", ErrConflict, name)
		}
		kid := r.kids[name]
		if kid == nil {
			if b.entries++; b.entries > b.lim.Entries {
				return nil, &LimitError{"entries", path, int64(b.lim.Entries)}
			}
			kid = &record{}
			if r.kids == nil {
				r.kids = map[string]*record{}
			}
			r.kids[name] = kid
		}
		r = kid
	}
	return r, nil
}

func (b *builder) put(path string, n *tree.Node, offset int64) error {
	r, err := b.make(path)
	if err != nil {
		return err
	}
	if n.Kind() != tree.Dir {
		if path == "" {
			return tree.ErrRoot
		}
		r.kids, r.opaque = nil, false
	} else if r.set() && !r.node.IsDir() {
		r.kids = nil // written through a link that is gone now
	}
	r.node, r.link, r.offset = n, "", offset
	return nil
}

// whiteout takes the entry name, which begins with the prefix, in dir.
func (b *builder) whiteout(dir, name string) error {
	if name == opaqueName {
		r, err := b.make(dir)
		if err != nil {
			return err
		}
		if r.set() && !r.node.IsDir() {
			return fmt.Errorf("%w: marker of an opaque directory in what is none", ErrConflict)
		}
		r.opaque = true
		return nil
	}
	if strings.HasPrefix(name, metaPrefix) {
		return nil
	}
	hidden := tree.Join(dir, name[len(whiteoutPrefix):])
	if hidden == dir {
		return fmt.Errorf("%w: whiteout of nothing", ErrName)
	}
	if err := tree.CheckPath(hidden); err != nil {
		return err
	}
	if b.metadata += int64(len(hidden)); b.metadata > b.lim.Metadata {
		return &LimitError{"bytes of names and attributes", hidden, b.lim.Metadata}
	}
	r, err := b.make(hidden)
	if err != nil {
		return err
	}
	r.hidden = true
	return nil
}

// link makes path a hard link of target, which is an earlier entry or else in a lower layer.
func (b *builder) link(path, target string) error {
	target, err := b.cleanPath(target)
	if err != nil {
		return fmt.Errorf("target of hard link: %w", err)
	}
	if path == "" || target == "" {
		return fmt.Errorf("%w: hard link of or to the root", ErrName)
	}
	if path == target {
		return fmt.Errorf("%w: hard link to itself", ErrConflict)
	}
	to := b.find(target)
	if to != nil && to.link != "" {
		target, to = to.link, nil // a link to a link to a lower layer
	}
	if b.archive && (to == nil || to.node == nil) {
		return fmt.Errorf("hard link to %.200q, which is not before it in the archive: %w", target, fs.ErrNotExist)
	}
	if to == nil || to.node == nil {
		r, err := b.make(path)
		if err != nil {
			return err
		}
		*r = record{link: target, hidden: r.hidden}
		return nil
	}
	if to.node.Kind() == tree.Dir {
		return fmt.Errorf("%w: hard link to directory %.200q", ErrUnsupported, target)
	}
	if to.node.Kind() == tree.File && to.node.Group() == 0 {
		b.groups++
		to.node = to.node.WithGroup(b.groups)
	}
	return b.put(path, to.node, to.offset)
}

// index turns the records into changes.
func (b *builder) index() *Index {
	x := &Index{Offsets: map[string]int64{}}
	x.add("", b.root)
	return x
}

// add recurses to the depth of a path, which is bounded.
func (x *Index) add(path string, r *record) {
	if r.link != "" {
		x.Links = append(x.Links, Link{path, r.link})
		return
	}
	node := r.node
	if node == nil && r.opaque {
		node = tree.NewDir(tree.Meta{Mode: 0o755}) // as runtimes make a directory without an entry
	}
	switch {
	case node == nil && r.hidden:
		x.Changes = append(x.Changes, tree.Change{Path: path})
	case node != nil:
		isDir := node.Kind() == tree.Dir
		x.Changes = append(x.Changes, tree.Change{Path: path, Node: node, Opaque: isDir && (r.opaque || r.hidden)})
		if node.Kind() == tree.File {
			x.Offsets[path] = r.offset
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.kids)) {
		x.add(tree.Join(path, name), r.kids[name])
	}
}
