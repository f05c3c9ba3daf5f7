package local

import (
	"path"
	"strings"

	"github.com/moby/patternmatcher"

	"github.com/stagewright/stagewright/internal/tree"
)

// patterns say what is in a copy: what include matches, nil for everything, and exclude
// does not, nil for nothing. They have the syntax of .dockerignore.
type patterns struct {
	include, exclude *patternmatcher.PatternMatcher
}

// matched is what patterns said of a path, for what is below it.
type matched struct{ include, exclude patternmatcher.MatchInfo }

// decide says whether a path is in the copy, given what was said of its directory. closed
// says that nothing below it can be either.
func (p patterns) decide(at string, above matched) (in, closed bool, below matched, err error) {
	in = true
	if p.include != nil {
		if in, below.include, err = p.include.MatchesUsingParentResults(at, above.include); err != nil {
			return false, false, below, err
		}
	}
	if p.exclude != nil {
		var out bool
		if out, below.exclude, err = p.exclude.MatchesUsingParentResults(at, above.exclude); err != nil {
			return false, false, below, err
		}
		in, closed = in && !out, out && !p.exclude.Exclusions()
	}
	return in, closed, below, nil
}

// prune leaves out of the directory f what the patterns say, which are relative to it.
// A directory that is left out is there all the same, as a passage, when something in it is
// not, by a later pattern with "!" or because only that is asked for.
func (p patterns) prune(f found) (found, error) {
	if !f.node.IsDir() || p.include == nil && p.exclude == nil {
		return f, nil
	}
	f, _, err := p.pruneBelow(f, "", matched{}, true)
	return f, err
}

// pruneAt leaves out of f what the patterns say of it and of what is in it, when they are
// relative to a directory in which f has a name. ok is false when nothing stays.
func (p patterns) pruneAt(f found, name string) (kept found, ok bool, err error) {
	in, closed, above := true, false, matched{}
	for end := 0; end < len(name); end++ {
		if end+1 < len(name) && name[end+1] != '/' {
			continue
		}
		if in, closed, above, err = p.decide(name[:end+1], above); err != nil || closed {
			return f, false, err
		}
	}
	if !f.node.IsDir() {
		return f, in, nil
	}
	return p.pruneBelow(f, name, above, in)
}

func (p patterns) pruneBelow(f found, name string, above matched, in bool) (found, bool, error) {
	d := &pruner{patterns: p, prefix: name, to: tree.Edit(tree.NewDir(f.node.Meta())), passage: map[string]bool{}}
	if err := d.directory(f.node, "", above); err != nil {
		return f, false, err
	}
	f.node, f.passage, f.looked = d.to.Tree(), d.passage, d.looked
	return f, in || f.node.Len() > 0, nil
}

// pruner copies what stays of a directory.
type pruner struct {
	patterns
	prefix  string // stands before the paths that the patterns see
	to      *tree.Editor
	pending []pendingDir // the directories above that are left out so far, the outermost first
	passage map[string]bool
	looked  []string
}

type pendingDir struct {
	path string
	node *tree.Node
}

func (d *pruner) directory(n *tree.Node, at string, above matched) error {
	for name, child := range n.All() {
		here := tree.Join(at, name)
		in, closed, below, err := d.decide(tree.Join(d.prefix, here), above)
		if err != nil {
			return err
		}
		if in {
			if err := d.keep(here, child); err != nil {
				return err
			}
		}
		if !child.IsDir() || closed {
			continue
		}
		if !in {
			if hasDirectory(child) {
				d.looked = append(d.looked, here)
			}
			d.pending = append(d.pending, pendingDir{here, child})
		}
		if err := d.directory(child, here, below); err != nil {
			return err
		}
		if k := len(d.pending); !in && k > 0 && d.pending[k-1].path == here {
			d.pending = d.pending[:k-1]
		}
	}
	return nil
}

func hasDirectory(n *tree.Node) bool {
	for _, child := range n.All() {
		if child.IsDir() {
			return true
		}
	}
	return false
}

// keep puts a path, and before it the directories above it.
func (d *pruner) keep(at string, n *tree.Node) error {
	for _, dir := range d.pending {
		d.passage[dir.path] = true
		if err := d.to.Put(dir.path, tree.NewDir(dir.node.Meta())); err != nil {
			return err
		}
	}
	d.pending = d.pending[:0]
	if n.IsDir() {
		n = tree.NewDir(n.Meta())
	}
	return d.to.Put(at, n)
}

// base is the last element of the path that a selected file is known by.
func (f found) base() string {
	if f.name == "" {
		return ""
	}
	return path.Base(strings.TrimSuffix(f.name, "/"))
}
