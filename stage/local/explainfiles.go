package local

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// fileDifferences names the files of local sources that differ from those that an earlier step
// read, and how many more there are than stage.MaxDifferences: what the earlier copy put is in its changes, what
// a mount had in a listing. Where neither can tell, items, the differences of the keys, name what
// the step selects. same says that they are all that differs.
func (x *explainer) fileDifferences(ctx context.Context, step *stage.Step, near *earlier, items []stage.Difference, same bool) ([]stage.Difference, int, error) {
	var f fileList
	var err error
	switch op := step.Op.(type) {
	case *stage.CopyOp:
		if same && x.sources.copies[step.ID] != nil {
			err = x.copiedDifferences(ctx, step, op, near, &f)
		}
	case *stage.RunOp:
		x.mountedDifferences(ctx, step, op, near, items, &f)
	}
	if err != nil || len(f.list) > 0 {
		return f.list, f.more, err
	}
	for _, d := range items {
		switch d.Aspect {
		case "matches", "below", "directory":
			continue
		case "together":
			if f.list != nil {
				continue
			}
			d.Aspect = "links"
		default:
			d.Aspect = ""
		}
		d.Old, d.New = "", ""
		if d.Name == "" {
			d.Name = selected(step)
		}
		f.add(d)
	}
	return f.list, f.more, nil
}

// selected is what a step selects in its source.
func selected(step *stage.Step) string {
	if op, ok := step.Op.(*stage.CopyOp); ok && len(op.Paths) == 1 && op.Paths[0] != "" {
		return op.Paths[0]
	}
	return "."
}

// fileList is the beginning of a list of files that differ.
type fileList struct {
	list []stage.Difference
	more int
}

func (f *fileList) add(d stage.Difference) {
	if len(f.list) == stage.MaxDifferences {
		f.more++
		return
	}
	d.What = "file"
	f.list = append(f.list, d)
}

// mountedDifferences compares what local sources give as mounts.
func (x *explainer) mountedDifferences(ctx context.Context, step *stage.Step, op *stage.RunOp, near *earlier, items []stage.Difference, f *fileList) {
	differs := map[string]bool{}
	for _, d := range items {
		differs[d.Aspect] = true
	}
	for i, m := range op.Mounts {
		l := x.sources.of(slot{step.ID, i})
		if l == nil || m.Type != stage.MountBind || !differs[m.Target] {
			continue
		}
		now, err := mounted(l, m.Path)
		if err != nil {
			continue
		}
		was, err := x.changes(ctx, record{Changes: near.info.Listings[m.Target]})
		if err != nil {
			continue
		}
		c := comparison{exact: true, name: func(p string) string {
			if picked, err := follow(l.root, m.Path); err == nil && picked.node != nil && !picked.node.IsDir() {
				return m.Path
			}
			return path.Join(m.Path, p)
		}}
		c.compare(was, now, f)
	}
}

// copiedDifferences compares what a copy puts with what an earlier one put.
func (x *explainer) copiedDifferences(ctx context.Context, step *stage.Step, op *stage.CopyOp, near *earlier, f *fileList) error {
	was, err := x.changes(ctx, near.record)
	if err != nil {
		return ctx.Err()
	}
	list, err := x.copied(step, op, nil)
	if err != nil {
		return ctx.Err()
	}
	for _, found := range list {
		if op.Unpack != stage.UnpackNever && !found.node.IsDir() {
			return nil // it may be an archive: the files are in it
		}
	}
	parent, known := emptyRoot, true
	if !independent(op) {
		parent, known = x.filesBelow(ctx, step.Parent)
	}
	now, err := x.copyOn(ctx, step, op, parent, known)
	if err != nil {
		return ctx.Err()
	}
	info, err := x.info(step)
	if err != nil {
		return err
	}
	c := comparison{
		exact: known && info.Parent == near.info.Parent, strangers: !known && op.Chown != "",
		name: sourceNames(list, op, parent),
	}
	if !c.exact {
		c.had, c.has = x.filesUnder(ctx, near.info.Parent), parent
	}
	c.compare(was, now, f)
	return nil
}

// filesBelow are the files after a step. Where only running a step could tell them they are what
// copies put, and known is false.
func (x *explainer) filesBelow(ctx context.Context, id int) (files *tree.Node, known bool) {
	id = x.below(id)
	if files := x.guesses[id]; files != nil {
		return files, false
	}
	step := x.steps[id]
	if x.after || !x.found[id].runs {
		if files, err := x.tree(ctx, nil, id); err == nil {
			return files, true
		}
	}
	files = emptyRoot
	if step.Parent >= 0 {
		files, _ = x.filesBelow(ctx, step.Parent)
	}
	if op, ok := step.Op.(*stage.CopyOp); ok && op.Unpack == stage.UnpackNever && x.sources.copies[id] != nil {
		if changes, err := x.copyOn(ctx, step, op, files, false); err == nil {
			if more, err := tree.Apply(files, changes); err == nil {
				files = more
			}
		}
	}
	x.guesses[id] = files
	return files, false
}

// copyOn returns what a copy changes on some files: where they are not known, without looking up
// the names of owners in them.
func (x *explainer) copyOn(ctx context.Context, step *stage.Step, op *stage.CopyOp, files *tree.Node, known bool) ([]tree.Change, error) {
	if !known {
		plain := *op
		plain.Chown = ""
		op = &plain
	}
	pack := &packWriter{ctx: ctx, store: x.opts.Store}
	defer pack.discard()
	after, err := x.performCopy(ctx, nil, step, op, files, nil, pack)
	if err != nil {
		return nil, err
	}
	return tree.Diff(files, after), nil
}

// maxUnder bounds how many files below an earlier step are looked at.
const maxUnder = 1 << 18

// filesUnder are the files that the steps below an earlier one put, the base image's left out, by
// their path.
func (x *explainer) filesUnder(ctx context.Context, key cache.Key) map[string]*tree.Node {
	files := map[string]*tree.Node{}
	for !key.IsZero() && len(files) < maxUnder {
		e, err := x.read(ctx, historyEntry{key: key})
		if err != nil || e == nil || e.info == nil || e.info.Op == "base" {
			break
		}
		changes, err := x.changes(ctx, e.record)
		if err != nil {
			break
		}
		for _, c := range changes {
			if _, over := files[c.Path]; !over {
				files[c.Path] = c.Node
			}
		}
		key = e.info.Parent
	}
	return files
}

// sourceNames says what a copied file is called in its source.
func sourceNames(list []found, op *stage.CopyOp, parent *tree.Node) func(string) string {
	at := strings.Trim(op.Dest, "/")
	directory := strings.HasSuffix(op.Dest, "/") || len(list) > 1
	if to, n, err := destination(tree.Edit(parent), at); err == nil {
		at, directory = to, directory || n.IsDir()
	}
	type pair struct{ dest, source string }
	var pairs []pair
	for _, f := range list {
		switch {
		case f.inline:
			pairs = append(pairs, pair{tree.Join(at, f.name), f.name})
		case len(f.above) > 0:
			pairs = append(pairs, pair{tree.Join(at, f.name), f.at})
		case f.node.IsDir():
			pairs = append(pairs, pair{at, f.at})
		case directory:
			pairs = append(pairs, pair{tree.Join(at, f.base()), f.at})
		default:
			pairs = append(pairs, pair{at, f.at})
		}
	}
	return func(p string) string {
		best, length := "/"+p, -1
		for _, m := range pairs {
			rest, below := strings.CutPrefix(p, m.dest)
			if below && rest != "" && m.dest != "" {
				rest, below = strings.CutPrefix(rest, "/")
			}
			if below && len(m.dest) > length {
				best, length = tree.Join(m.source, rest), len(m.dest)
				if rest == "" {
					best = m.source
				}
			}
		}
		return best
	}
}

// comparison compares two lists of changes that copies or mounts made of their source.
type comparison struct {
	// exact says that both are on top of the same files. Else what one of them lacks can have
	// been there already: had are files below the earlier, has those below the later one.
	exact     bool
	had       map[string]*tree.Node
	has       *tree.Node
	strangers bool // owners are not known
	name      func(string) string
}

func (c *comparison) compare(was, now []tree.Change, f *fileList) {
	inside := "" // a directory of which all is told
	for i, j := 0, 0; i < len(was) || j < len(now); {
		order := 0
		switch {
		case i == len(was):
			order = 1
		case j == len(now):
			order = -1
		default:
			order = tree.ComparePaths(was[i].Path, now[j].Path)
		}
		var old, is *tree.Node
		path := ""
		if order <= 0 {
			path, old = was[i].Path, was[i].Node
			i++
		}
		if order >= 0 {
			path, is = now[j].Path, now[j].Node
			j++
		}
		if inside != "" && strings.HasPrefix(path, inside) {
			continue
		}
		inside = ""
		if whole := c.one(path, old, is, f); whole {
			inside = path + "/"
		}
	}
}

// one compares one file, and reports whether all that is below it is told.
func (c *comparison) one(path string, old, is *tree.Node, f *fileList) (whole bool) {
	d := stage.Difference{Kind: stage.Changed, Name: c.name(path)}
	switch {
	case old == nil && is == nil:
		return false
	case old == nil:
		if is.IsDir() && (!c.exact || path == "") || !is.IsDir() && c.had[path] != nil && same(c.had[path], is) {
			return false
		}
		d.Kind, whole = stage.Added, is.IsDir()
	case is == nil:
		there := tree.Lookup(c.has, path)
		if old.IsDir() && (!c.exact || path == "") || there != nil && same(there, old) {
			return false
		}
		d.Kind, whole = stage.Removed, old.IsDir()
	default:
		if d.Aspect, d.Old, d.New = c.aspect(old, is); d.Aspect == "" {
			return false
		}
		whole = old.IsDir() != is.IsDir()
	}
	if whole && d.Kind != stage.Changed {
		d.Name += "/"
	}
	f.add(d)
	return whole
}

// aspect says what of a file is another; empty for nothing but its time.
func (c *comparison) aspect(old, is *tree.Node) (aspect, was, now string) {
	a, b := old.Meta(), is.Meta()
	oldMajor, oldMinor := old.Device()
	major, minor := is.Device()
	switch {
	case old.Kind() != is.Kind():
		return "kind", old.Kind().String(), is.Kind().String()
	case old.Content() != is.Content():
		return "content", "", ""
	case old.Target() != is.Target():
		return "target", shortened(old.Target(), maxShown), shortened(is.Target(), maxShown)
	case oldMajor != major || oldMinor != minor:
		return "device", fmt.Sprintf("%d:%d", oldMajor, oldMinor), fmt.Sprintf("%d:%d", major, minor)
	case a.Mode != b.Mode:
		return "mode", fmt.Sprintf("%04o", a.Mode), fmt.Sprintf("%04o", b.Mode)
	case !c.strangers && (a.UID != b.UID || a.GID != b.GID):
		return "owner", fmt.Sprintf("%d:%d", a.UID, a.GID), fmt.Sprintf("%d:%d", b.UID, b.GID)
	}
	a.Mtime, a.UID, a.GID = b.Mtime, b.UID, b.GID
	if !a.Equal(b) {
		return "attributes", "", ""
	}
	return "", "", ""
}
