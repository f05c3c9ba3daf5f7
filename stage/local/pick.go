package local

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/moby/patternmatcher"

	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/source"
)

// found is one file or directory that a source path selects.
type found struct {
	name   string     // the path as matched; its last element names the copy
	at     string     // where it is in the source, after following links
	node   *tree.Node // without what is left out; a symbolic link only by stage.LinksKept
	inline bool       // its content is in the operation
	noName bool       // name is made up: neither a URL nor its server has one
	// above are the directories of name, of a copy that keeps them.
	above []*tree.Node
	// passage are the directories below node that are only there for the sake of what is
	// in them, in compatible mode.
	passage map[string]bool
	// looked are directories below what was found that are left out, or passages, and have
	// directories in them: BuildKit looks for those in the destination all the same.
	looked []string
}

// picker finds what the paths of a copy, or the path of a mount, select.
type picker struct {
	choice
	exclude []string
}

// choice is how a path selects.
type choice struct {
	literal    bool // it is no pattern: of a mount
	compatible bool // as BuildKit does it
	parents    bool
	optional   bool
	single     bool // the source is one file, which "." names
	named      bool // that file's name is the caller's
	links      stage.LinkRule
}

// literalPath picks what a path names.
func literalPath() picker { return picker{choice: choice{literal: true}} }

func pickerOf(op *stage.CopyOp) picker {
	from, single := op.From.(stage.HTTPSource)
	return picker{choice{
		compatible: op.Compatible, parents: op.Parents, optional: op.Optional, single: single, named: from.Name != "", links: op.Links,
	}, op.Exclude}
}

// pick finds what one path selects below a root. there says that something is, also when
// all of it is left out; that nothing is is no error: see required.
func (p picker) pick(root *tree.Node, pattern string) (list []found, there bool, err error) {
	if list, err = p.pickAll(root, pattern); err != nil || len(list) == 0 || p.compatible || len(p.exclude) == 0 {
		return list, len(list) > 0, err
	}
	list, err = p.leaveOut(list)
	return list, true, err
}

// pickAll is pick before patterns leave something out, except in compatible mode, where
// that is one with finding it.
func (p picker) pickAll(root *tree.Node, pattern string) ([]found, error) {
	if p.literal {
		return p.follow(root, pattern)
	}
	if p.single && pattern == "." {
		var list []found
		for name, n := range root.All() {
			list = append(list, found{name: name, at: name, node: n, noName: name == source.Unnamed && !p.named})
		}
		return list, nil
	}
	if p.compatible {
		return p.pickCompatible(root, pattern)
	}
	if p.parents {
		return pickParents(root, pattern, p.links)
	}
	return match(root, "", pattern, p.links)
}

// leaveOut takes out of what was found what the patterns of the copy say.
func (p picker) leaveOut(list []found) ([]found, error) {
	exclude, err := p.excluded()
	if err != nil {
		return nil, err
	}
	sel := patterns{exclude: exclude}
	kept := list[:0]
	for _, f := range list {
		ok := true
		switch {
		case f.node.IsDir() && (!p.parents || f.name == ""):
			f, err = sel.prune(f)
		case p.parents:
			f, ok, err = sel.pruneAt(f, f.name)
		default:
			f, ok, err = sel.pruneAt(f, f.base())
		}
		if err == nil && !ok {
			continue
		}
		if err != nil {
			return nil, err
		}
		kept = append(kept, f)
	}
	return kept, nil
}

// excluded parses the patterns of what is left out; nil for none.
func (p picker) excluded() (*patternmatcher.PatternMatcher, error) {
	if len(p.exclude) == 0 {
		return nil, nil
	}
	exclude, err := patternmatcher.New(p.exclude)
	if err != nil {
		return nil, fmt.Errorf("exclude %q: %w", p.exclude, err)
	}
	return exclude, nil
}

// required reports whether it is an error when the path selects nothing.
func (p picker) required(pattern string) bool {
	if !p.compatible || p.literal {
		return !p.optional
	}
	if p.parents {
		pattern, _ = cutPivot(pattern)
	}
	return !p.optional && !hasWildcard(pattern)
}

func (p picker) follow(root *tree.Node, at string) ([]found, error) {
	if at == "." || at == "" {
		return []found{{node: root}}, nil
	}
	f, err := follow(root, at)
	if err != nil || f.node == nil {
		return nil, err
	}
	return []found{f}, nil
}

// cutPivot cuts a path of a copy that keeps directories at its element ".".
func cutPivot(pattern string) (before, after string) {
	before, after, ok := strings.Cut(pattern, "/./")
	if !ok {
		return ".", strings.TrimPrefix(pattern, "./")
	}
	return before, after
}

// pickParents is match, with names from the pivot on and the directories of them.
func pickParents(root *tree.Node, pattern string, links stage.LinkRule) ([]found, error) {
	before, after := cutPivot(pattern)
	tops, err := match(root, "", before, stage.LinksFollowed)
	if err != nil {
		return nil, err
	}
	var list []found
	for _, top := range tops {
		matches, err := match(root, top.at, after, links)
		if err != nil {
			return nil, err
		}
		for _, f := range matches {
			f.name = strings.Trim(strings.TrimPrefix(f.name, top.at), "/")
			for end := range len(f.name) {
				if f.name[end] != '/' {
					continue
				}
				dir, err := follow(root, tree.Join(top.at, f.name[:end]))
				if err != nil || !dir.node.IsDir() {
					return nil, fmt.Errorf("%q: %w", f.name[:end], fs.ErrNotExist)
				}
				f.above = append(f.above, dir.node)
			}
			list = append(list, f)
		}
	}
	return list, nil
}

// match finds what a source path selects below the directory top of a root. Each
// element may hold the wildcards of path.Match, and an element "**" stands for any
// number of directories. Links named by the path are followed inside the root, also the
// last one, unless links says otherwise. Nothing found is not an error.
func match(root *tree.Node, top, pattern string, links stage.LinkRule) ([]found, error) {
	if pattern == "." || pattern == "" {
		pattern = ""
	}
	if !isPattern(pattern) {
		f, err := named(root, strings.TrimSuffix(tree.Join(top, pattern), "/"), links)
		if err != nil || f.node == nil {
			return nil, err
		}
		return []found{f}, nil
	}
	if _, err := path.Match(strings.ReplaceAll(pattern, "**", "*"), ""); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	m := &matcher{root: root, links: links, seen: map[string]bool{}}
	err := m.walk(top, strings.Split(pattern, "/"))
	return m.found, err
}

func isPattern(p string) bool { return strings.ContainsAny(p, `*?[\`) }

// follow resolves a path; a node of nil says that nothing is there. A link to nothing is
// an error.
func follow(root *tree.Node, p string) (found, error) {
	at, n, err := tree.Resolve(root, p, true)
	if err == nil && n != nil {
		return found{name: p, at: at, node: n}, nil
	}
	if err != nil && !isNotThere(err) {
		return found{}, err
	}
	if _, link, err := tree.Resolve(root, p, false); err == nil && link != nil && link.Kind() == tree.Symlink {
		return found{}, fmt.Errorf("%q is a link to %q, which does not exist", p, link.Target())
	}
	return found{}, nil
}

// named is follow, but for a link as the last element, where the rule counts.
func named(root *tree.Node, p string, links stage.LinkRule) (found, error) {
	at, n, err := tree.Resolve(root, p, false)
	if links == stage.LinksFollowed || err != nil || n == nil || n.Kind() != tree.Symlink {
		return follow(root, p)
	}
	if links == stage.LinksRefused {
		return found{}, &fixError{fmt.Errorf("%q is a link to %q", p, n.Target()), "copy what it leads to by its own path, or choose stage.LinksKept or stage.LinksFollowed"}
	}
	return found{name: p, at: at, node: n}, nil
}

type matcher struct {
	root  *tree.Node
	links stage.LinkRule
	seen  map[string]bool
	found []found
}

// walk matches the remaining elements below the directory at dir.
func (m *matcher) walk(dir string, elements []string) error {
	if len(elements) == 0 {
		if m.seen[dir] {
			return nil
		}
		m.seen[dir] = true
		f, err := named(m.root, dir, m.links)
		if err == nil && f.node != nil {
			m.found = append(m.found, f)
		}
		return err
	}
	here, err := follow(m.root, dir)
	if err != nil || here.node == nil || !here.node.IsDir() {
		return nil // a broken link or a file in the middle of a pattern matches nothing
	}
	element, rest := elements[0], elements[1:]
	if element == "**" {
		if len(rest) > 0 {
			if err := m.walk(dir, rest); err != nil {
				return err
			}
		}
		for name, n := range here.node.All() {
			next := elements
			if !n.IsDir() {
				if len(rest) > 0 {
					continue
				}
				next = nil
			}
			if err := m.walk(tree.Join(dir, name), next); err != nil {
				return err
			}
		}
		return nil
	}
	for name := range here.node.All() {
		if ok, _ := path.Match(element, name); ok {
			if err := m.walk(tree.Join(dir, name), rest); err != nil {
				return err
			}
		}
	}
	return nil
}
