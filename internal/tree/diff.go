package tree

// A Change is one difference between two trees, in the terms of an overlay.
type Change struct {
	Path string // where, relative to the root
	// Node is what is there now; nil means that Path is removed. A directory
	// stands for its metadata alone: its children are changes of their own, and
	// those of the older tree stay unless Opaque. Any other kind replaces
	// whatever was there. Hard-link groups are numbers within one list of
	// changes and have nothing to do with those of any tree.
	Node   *Node
	Opaque bool // of a directory: nothing of the older tree stays in it
}

// Diff returns the changes that make new out of old, in the order of [Walk].
// The list is minimal: what is equal in both is not in it, a subtree that went
// is one removal, and a directory that became something else is one change. An
// old nil is an empty directory as of Edit(nil). Opaque is never used.
//
// A set of hard links is all in the list or not at all, because only then can
// it be made as links: it is left out when each of its names was a link of one
// and the same unchanged file already. Subtrees shared by both trees cost nothing.
func Diff(old, new *Node) []Change {
	if old == nil {
		old = NewDir(Meta{Mode: 0o755})
	}
	d := differ{}
	d.plan(old, new)
	d.compare("", old, new)
	return d.out
}

type differ struct {
	out    []Change
	forced map[string]bool   // files that are changes although they are equal on their own
	above  map[string]bool   // the directories above them
	groups map[string]uint64 // path in new -> number of its link set
	ids    map[uint64]uint64 // number of a link set -> group in the list, by first appearance
}

func (d *differ) compare(path string, old, new *Node) {
	if old == new && !d.forced[path] && !d.above[path] {
		return
	}
	if old.kind != Dir || new.kind != Dir {
		if !sameLeaf(old, new) || d.forced[path] {
			d.add(path, new)
		}
		return
	}
	if !d.above[path] && sameKnownDigest(old, new) {
		return
	}
	if !old.meta.Equal(new.meta) {
		d.out = append(d.out, Change{Path: path, Node: NewDir(new.meta)})
	}
	o, n := cursor{chunks: old.dir.chunks}, cursor{chunks: new.dir.chunks}
	for {
		a, b := o.peek(), n.peek()
		if d.above == nil && o.skipShared(&n) {
			continue
		}
		switch {
		case a == nil && b == nil:
			return
		case b == nil || a != nil && a.name < b.name:
			d.out = append(d.out, Change{Path: Join(path, a.name)})
			o.advance()
		case a == nil || b.name < a.name:
			d.add(Join(path, b.name), b.node)
			n.advance()
		default:
			if a.node != b.node || d.above != nil {
				d.compare(Join(path, a.name), a.node, b.node)
			}
			o.advance()
			n.advance()
		}
	}
}

// add makes n and everything below it changes.
func (d *differ) add(path string, n *Node) {
	if n.kind != Dir {
		if n.group != 0 {
			n = n.WithGroup(d.group(path))
		}
		d.out = append(d.out, Change{Path: path, Node: n})
		return
	}
	d.out = append(d.out, Change{Path: path, Node: NewDir(n.meta)})
	for _, c := range n.dir.chunks {
		for _, e := range c.entries {
			d.add(Join(path, e.name), e.node)
		}
	}
}

func (d *differ) group(path string) uint64 {
	set, linked := d.groups[path]
	if !linked {
		return 0
	}
	id, ok := d.ids[set]
	if !ok {
		id = uint64(len(d.ids)) + 1
		d.ids[set] = id
	}
	return id
}

// plan decides which names are changes because of the hard links alone.
func (d *differ) plan(old, new *Node) {
	if !old.maybeGrouped() && !new.maybeGrouped() {
		return
	}
	d.forced, d.above, d.groups, d.ids = map[string]bool{}, map[string]bool{}, map[string]uint64{}, map[uint64]uint64{}
	sets := linkSets(new, true)
	for i, s := range sets {
		for _, p := range s {
			d.groups[p] = uint64(i)
		}
	}
	before := map[string]int{} // path -> its set in old, from 1
	for i, s := range linkSets(old, true) {
		for _, p := range s {
			before[p] = i + 1
			// A name that was a link and is alone now is a set of one.
			if _, linked := d.groups[p]; !linked && Lookup(new, p) != nil {
				sets = append(sets, linkSet{p})
			}
		}
	}
	// Of the sets that one old set fell into, the largest can stay; the others are made anew.
	keeper := map[int]int{}
	from := make([]int, len(sets))
	for i, s := range sets {
		from[i] = heir(old, new, s, before)
		if k, ok := keeper[from[i]]; from[i] != 0 && (!ok || larger(s, sets[k])) {
			keeper[from[i]] = i
		}
	}
	for i, s := range sets {
		if k, ok := keeper[from[i]]; ok && k == i {
			continue
		}
		for _, p := range s {
			d.force(p)
		}
	}
}

// heir returns the old set that all of s comes from unchanged, 0 when there is none.
func heir(old, new *Node, s linkSet, before map[string]int) int {
	set := before[s[0]]
	for _, p := range s {
		a, b := Lookup(old, p), Lookup(new, p)
		if before[p] != set || a == nil || !sameLeaf(a, b) {
			return 0
		}
	}
	return set
}

func larger(a, b linkSet) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return ComparePaths(a[0], b[0]) < 0
}

func (d *differ) force(path string) {
	d.forced[path] = true
	for path != "" {
		path, _ = splitLast(path)
		if d.above[path] {
			return
		}
		d.above[path] = true
	}
}

// sameLeaf compares two nodes without children and groups; directories are never the same.
func sameLeaf(a, b *Node) bool {
	return a.kind == b.kind && a.kind != Dir && a.size == b.size && a.content == b.content && a.target == b.target &&
		a.major == b.major && a.minor == b.minor && a.meta.Equal(b.meta)
}

// sameKnownDigest compares digests that are there already. Computing them only for this would cost more than comparing.
func sameKnownDigest(a, b *Node) bool {
	x, y := a.dir.identity.plain.Load(), b.dir.identity.plain.Load()
	return x != nil && y != nil && *x == *y
}

// cursor reads a directory's entries in order.
type cursor struct {
	chunks []*chunk
	i      int
}

func (c *cursor) peek() *entry {
	for len(c.chunks) > 0 {
		if c.i < len(c.chunks[0].entries) {
			return &c.chunks[0].entries[c.i]
		}
		c.chunks, c.i = c.chunks[1:], 0
	}
	return nil
}

func (c *cursor) advance() { c.i++ }

// skipShared goes past a chunk that both cursors are at the beginning of: its entries are the same nodes.
func (c *cursor) skipShared(other *cursor) bool {
	if c.i != 0 || other.i != 0 || len(c.chunks) == 0 || len(other.chunks) == 0 || c.chunks[0] != other.chunks[0] {
		return false
	}
	c.chunks, other.chunks = c.chunks[1:], other.chunks[1:]
	return true
}
