package tree

// Apply returns root with the changes made, in their order. A nil root is an
// empty directory as of Edit(nil). Missing parents are made with mode 0755,
// owner 0:0 and mtime 0, and links in a parent are followed inside the root, as
// container runtimes do when they unpack a layer; the last element is never followed.
//
// The error is a *[PathError]; root itself is never changed.
func Apply(root *Node, changes []Change) (*Node, error) {
	e := Edit(root)
	g := e.Graft()
	for _, c := range changes {
		if err := g.apply(c); err != nil {
			return nil, err
		}
	}
	return e.Tree(), nil
}

func (g *Graft) apply(c Change) error {
	e := g.editor
	if err := CheckPath(c.Path); err != nil {
		return &PathError{Op: "apply", Path: c.Path, Err: err}
	}
	if c.Path == "" {
		return e.applyRoot(c)
	}
	path, err := e.applyParent(c)
	if err != nil || path == "" {
		return err
	}
	if c.Node == nil {
		return e.Remove(path)
	}
	if c.Node.kind != Dir {
		return g.Put(path, c.Node)
	}
	if at := Lookup(e.root, path); at != nil && at.kind == Dir && !c.Opaque {
		return e.SetMeta(path, c.Node.meta)
	}
	return e.Put(path, NewDir(c.Node.meta))
}

func (e *Editor) applyRoot(c Change) error {
	switch {
	case c.Node == nil || c.Node.kind != Dir:
		return &PathError{Op: "apply", Path: "", Err: ErrRoot}
	case c.Opaque:
		return e.Put("", NewDir(c.Node.meta))
	}
	return e.SetMeta("", c.Node.meta)
}

// applyParent returns the path of c with the links of its parents followed and the missing parents
// made; "" when c removes something whose parent is not there.
func (e *Editor) applyParent(c Change) (string, error) {
	dir, name := splitLast(c.Path)
	if n := Lookup(e.root, dir); n != nil && n.kind == Dir {
		return c.Path, nil
	}
	at, n, rest, err := resolve(e.root, dir, true)
	switch {
	case c.Node == nil && (err != nil || !n.IsDir()):
		return "", nil
	case err != nil:
		return "", err
	case n == nil:
		if rest != "" {
			at = Join(at, rest)
		}
		if err := e.MkdirAll(at, Meta{Mode: 0o755}); err != nil {
			return "", err
		}
	case n.kind != Dir:
		return "", &PathError{Op: "apply", Path: c.Path, Err: ErrNotDir}
	}
	return Join(at, name), nil
}
