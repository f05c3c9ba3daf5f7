package tree

// A linkSet is the names of one file, two or more, in the order of Walk.
type linkSet []string

// linkSets returns the hard links of the tree below root, in the order of their
// first names. Names whose group is the same but whose metadata or content is
// not cannot be one file and do not count as links; mtime says whether
// mtimes take part in that.
func linkSets(root *Node, mtime bool) []linkSet {
	if !root.maybeGrouped() {
		return nil
	}
	type id struct {
		group uint64
		leaf  Digest
	}
	h := newHasher(mtime)
	index := map[id]int{}
	var all []linkSet
	eachGrouped("", root, func(path string, n *Node) {
		k := id{n.group, h.leaf(n)}
		i, ok := index[k]
		if !ok {
			i = len(all)
			index[k] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], path)
	})
	sets := all[:0]
	for _, s := range all {
		if len(s) > 1 {
			sets = append(sets, s)
		}
	}
	return sets
}

func (n *Node) maybeGrouped() bool {
	return n != nil && (n.group != 0 || n.dir != nil && n.dir.grouped)
}

// eachGrouped calls f for every file with a group, in the order of Walk, and looks only where there can be one.
func eachGrouped(path string, n *Node, f func(string, *Node)) {
	if n.group != 0 {
		f(path, n)
	}
	if n.dir == nil {
		return
	}
	for _, c := range n.dir.chunks {
		for _, e := range c.entries {
			if e.node.maybeGrouped() {
				eachGrouped(Join(path, e.name), e.node, f)
			}
		}
	}
}

// groupIDs knows the group numbers that a tree uses and gives out others.
type groupIDs struct {
	used map[uint64]struct{}
	next uint64
}

func (g *groupIDs) add(n *Node) {
	eachGrouped("", n, func(_ string, f *Node) { g.used[f.group] = struct{}{} })
}

// fresh returns the smallest number that was never used.
func (g *groupIDs) fresh() uint64 {
	for {
		g.next++
		if _, taken := g.used[g.next]; !taken && g.next != 0 {
			return g.next
		}
	}
}

// A Graft puts nodes that come from one other tree, or from one list of
// changes, into the tree of an Editor. Files that are hard links of each other
// there are so here, also across several Puts, and never become links of files
// that merely have the same group number. It belongs to its Editor's goroutine.
type Graft struct {
	editor *Editor
	ids    map[uint64]uint64 // group there -> group here
}

// Graft begins to take nodes from another tree.
func (e *Editor) Graft() *Graft { return &Graft{editor: e} }

// Put is [Editor.Put] for a node of the other tree.
func (g *Graft) Put(path string, n *Node) error {
	if !n.maybeGrouped() {
		return g.editor.Put(path, n)
	}
	return g.editor.Put(path, g.translate(n))
}

func (g *Graft) translate(n *Node) *Node {
	if n.dir == nil {
		return n.WithGroup(g.group(n.group))
	}
	c := *n
	c.dir = n.dir.share(nil)
	for i, old := range c.dir.chunks {
		entries := make([]entry, len(old.entries))
		for j, e := range old.entries {
			if e.node.maybeGrouped() {
				e.node = g.translate(e.node)
			}
			entries[j] = e
		}
		c.dir.chunks[i] = &chunk{entries: entries}
	}
	return &c
}

func (g *Graft) group(there uint64) uint64 {
	if there == 0 {
		return 0
	}
	if here, ok := g.ids[there]; ok {
		return here
	}
	if g.ids == nil {
		g.ids = map[uint64]uint64{}
	}
	here := g.editor.NewGroup()
	g.ids[there] = here
	return here
}

// NewGroup returns a hard-link group that no file of the tree has, and that NewGroup has not returned before.
func (e *Editor) NewGroup() uint64 {
	if e.groups == nil {
		e.groups = &groupIDs{used: map[uint64]struct{}{}}
		if e.root.maybeGrouped() {
			e.groups.add(e.root)
		}
	}
	return e.groups.fresh()
}
