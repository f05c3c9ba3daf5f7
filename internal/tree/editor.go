package tree

import "strings"

// An Editor makes a new tree out of another one by a series of edits. It copies
// each directory and each group of 64 names at most once between two snapshots,
// so n edits cost in the order of n, whatever they touch; what is not touched is
// shared with the tree it began from. An Editor is for one goroutine at a time;
// the trees it returns are immutable and unaffected by later edits.
type Editor struct {
	root  *Node
	token *token

	// The directory of the last edit, which is most often that of the next.
	lastPath string
	last     *Node // nil when unknown

	groups *groupIDs // the hard-link groups in the tree, nil until a Graft needs them
}

// Edit begins to edit root. A nil root is an empty directory with mode 0755, owner 0:0 and mtime 0.
func Edit(root *Node) *Editor {
	if root == nil {
		root = NewDir(Meta{Mode: 0o755})
	}
	return &Editor{root: root, token: new(token)}
}

// Tree returns the tree as it is now. The Editor stays usable.
func (e *Editor) Tree() *Node {
	e.retire(e.root)
	return e.root
}

// retire makes n, which is about to be given away, immutable.
func (e *Editor) retire(n *Node) {
	if n != nil && n.dir != nil && n.dir.owner == e.token {
		e.token, e.last = new(token), nil
	}
}

// Lookup returns the node at path as it is now, nil when there is none. It follows no link.
func (e *Editor) Lookup(path string) *Node {
	n := Lookup(e.root, path)
	e.retire(n)
	return n
}

// Resolve is [Resolve] on the tree as it is now.
func (e *Editor) Resolve(path string, followLast bool) (string, *Node, error) {
	at, n, err := Resolve(e.root, path, followLast)
	e.retire(n)
	return at, n, err
}

// Put places n at path and replaces what is there; a directory comes with all
// that is in it and replaces a directory whole. The parent must exist and be a
// directory. Groups of n are taken as they are: use a [Graft] for nodes of another tree.
//
// The error is a *[PathError] with [fs.ErrNotExist] or [ErrNotDir] for a parent,
// [ErrName], [ErrTooLong], or [ErrRoot] for a root that is no directory.
func (e *Editor) Put(path string, n *Node) error {
	if path == "" {
		if n.kind != Dir {
			return &PathError{Op: "put", Path: path, Err: ErrRoot}
		}
		e.root, e.last, e.groups = n, nil, nil
		return nil
	}
	parent, name, err := e.parent("put", path)
	if err != nil {
		return err
	}
	if n.kind == Dir {
		if err := checkTail(path, n); err != nil {
			return err
		}
		e.last = nil // the cached directory may be in what is replaced
	}
	e.place(parent, path, name, n)
	return nil
}

// place sets a name in a directory that is owned and keeps the bounds of the ancestors.
func (e *Editor) place(parent *Node, path, name string, n *Node) {
	grouped := n.group != 0 || n.dir != nil && n.dir.grouped
	tail := len(name)
	if n.dir != nil && n.dir.count > 0 {
		tail += 1 + n.dir.tail
	}
	if grouped && !parent.dir.grouped || tail > parent.dir.tail {
		e.raise(path, len(path)-len(name)+tail, grouped)
	}
	parent.dir.put(e.token, name, n)
	if grouped && e.groups != nil {
		e.groups.add(n)
	}
}

// raise tells every directory above path of a longest path (counted from the root) and of groups below.
func (e *Editor) raise(path string, length int, grouped bool) {
	n, rest := e.root, path
	for {
		n.dir.tail = max(n.dir.tail, length-(len(path)-len(rest)))
		n.dir.grouped = n.dir.grouped || grouped
		name, below, more := strings.Cut(rest, "/")
		if !more {
			return
		}
		n, rest = n.dir.get(name), below
	}
}

// checkTail refuses a directory below which some path would be longer than MaxPath.
func checkTail(path string, n *Node) error {
	if n.dir.count == 0 || len(path)+1+n.dir.tail <= MaxPath {
		return nil
	}
	// tail is only an upper bound: removals do not lower it.
	if len(path)+1+longest(n) <= MaxPath {
		return nil
	}
	return &PathError{Op: "put", Path: path, Err: ErrTooLong}
}

func longest(n *Node) int {
	most := 0
	for p := range Walk(n) {
		most = max(most, len(p))
	}
	return most
}

// SetMeta changes the metadata at path and keeps children and content. Of a
// hard-linked file it changes this one name, which thereby stops being a link
// of the others. The error is a *[PathError], [fs.ErrNotExist] when nothing is there.
func (e *Editor) SetMeta(path string, m Meta) error {
	if path == "" {
		root := e.own(e.root)
		root.meta = m.normal()
		e.root = root
		return nil
	}
	parent, name, err := e.parent("set metadata of", path)
	if err != nil {
		return err
	}
	old := parent.dir.get(name)
	if old == nil {
		return &PathError{Op: "set metadata of", Path: path, Err: errNotExist}
	}
	if old.kind != Dir {
		parent.dir.put(e.token, name, old.WithMeta(m))
		return nil
	}
	dir := e.own(old)
	dir.meta = m.normal()
	if dir != old {
		parent.dir.put(e.token, name, dir)
	}
	return nil
}

// MkdirAll makes the directory path and its missing parents, each with m.
// Directories that exist are left as they are. It follows no link: anything
// that is no directory on the way is a *[PathError] with [ErrNotDir].
func (e *Editor) MkdirAll(path string, m Meta) error {
	if err := CheckPath(path); err != nil {
		return &PathError{Op: "make directory", Path: path, Err: err}
	}
	n := e.root
	for rest := path; rest != ""; {
		var name string
		end := len(path)
		if name, rest, _ = strings.Cut(rest, "/"); rest != "" {
			end -= len(rest) + 1
		}
		child := n.Child(name)
		if child == nil {
			child = NewDir(m)
			if err := e.Put(path[:end], child); err != nil {
				return err
			}
		}
		if child.kind != Dir {
			return &PathError{Op: "make directory", Path: path, Err: ErrNotDir}
		}
		n = child
	}
	return nil
}

// Remove takes path and everything below it away. What is absent already is no
// error. The root cannot be removed: [ErrRoot].
func (e *Editor) Remove(path string) error {
	if path == "" {
		return &PathError{Op: "remove", Path: path, Err: ErrRoot}
	}
	if err := CheckPath(path); err != nil {
		return &PathError{Op: "remove", Path: path, Err: err}
	}
	if Lookup(e.root, path) == nil {
		return nil
	}
	parent, name, err := e.parent("remove", path)
	if err != nil {
		return err
	}
	parent.dir.remove(e.token, name)
	e.last = nil
	return nil
}

// parent returns the directory that holds path, owned by e, and the last name of path.
func (e *Editor) parent(op, path string) (*Node, string, error) {
	dir, name := splitLast(path)
	if e.last != nil && dir == e.lastPath && path[0] != '/' {
		if err := checkName(name); err != nil {
			return nil, "", &PathError{Op: op, Path: path, Err: err}
		}
		if len(path) > MaxPath {
			return nil, "", &PathError{Op: op, Path: path, Err: ErrTooLong}
		}
		return e.last, name, nil
	}
	if err := CheckPath(path); err != nil {
		return nil, "", &PathError{Op: op, Path: path, Err: err}
	}
	switch n := Lookup(e.root, dir); {
	case n == nil:
		return nil, "", &PathError{Op: op, Path: path, Err: e.whyMissing(dir)}
	case n.kind != Dir:
		return nil, "", &PathError{Op: op, Path: path, Err: ErrNotDir}
	}
	e.root = e.own(e.root)
	n := e.root
	for rest := dir; rest != ""; {
		var step string
		step, rest, _ = strings.Cut(rest, "/")
		child := n.dir.get(step)
		if child.dir.owner != e.token {
			child = e.own(child)
			n.dir.put(e.token, step, child)
		}
		n = child
	}
	e.lastPath, e.last = dir, n
	return n, name, nil
}

// whyMissing tells a missing directory from a path through something else.
func (e *Editor) whyMissing(dir string) error {
	n := e.root
	for rest := dir; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if n = n.Child(name); n == nil {
			return errNotExist
		}
		if n.kind != Dir {
			return ErrNotDir
		}
	}
	return errNotExist
}

// own returns a directory that e may change: n itself or a copy.
func (e *Editor) own(n *Node) *Node {
	if n.dir.owner == e.token {
		return n
	}
	c := *n
	c.dir = n.dir.share(e.token)
	return &c
}
