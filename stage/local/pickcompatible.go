package local

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/moby/patternmatcher"

	"github.com/stagewright/stagewright/internal/tree"
)

// pickCompatible finds what a source path selects by BuildKit's rules: the elements
// before the first wildcard are a path, the rest is one pattern of path.Match for all of
// what is below it, and "**" is "*" except in a copy that keeps directories. There the
// whole path selects like a line of .dockerignore.
func (p picker) pickCompatible(root *tree.Node, pattern string) ([]found, error) {
	exclude, err := p.excluded()
	if err != nil {
		return nil, err
	}
	sel := patterns{exclude: exclude}
	var needed string // what must be among what is selected
	if p.parents {
		before, after := cutPivot(pattern)
		if after == "." {
			// Nothing matches the pattern that BuildKit makes of it.
			if after = ""; !hasWildcard(before) {
				return nil, fmt.Errorf("path %q (\"/\"): BuildKit finds nothing of it with --parents; copy it without: %w", pattern, fs.ErrNotExist)
			}
		}
		if sel.include, err = patternmatcher.New([]string{after}); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", after, err)
		}
		if !hasWildcard(pattern) {
			needed = after
		}
		pattern = before
	}
	list, err := glob(root, pattern)
	if err != nil {
		return nil, err
	}
	there := needed == ""
	for i, f := range list {
		if list[i], err = sel.prune(f); err != nil {
			return nil, err
		}
		there = there || tree.Lookup(list[i].node, needed) != nil
	}
	if !there {
		return nil, nil
	}
	return list, nil
}

// glob resolves the wildcards of a path. A directory of the path that is not there is an
// error, a pattern without a match is not.
func glob(root *tree.Node, pattern string) ([]found, error) {
	dir, rest := splitWildcards(pattern)
	if rest == "" {
		return picker{}.follow(root, dir)
	}
	top := found{node: root}
	if dir != "" {
		var err error
		if top, err = follow(root, dir); err != nil {
			return nil, err
		}
		if top.node == nil {
			return nil, fmt.Errorf("pattern %q: %q: %w", pattern, "/"+dir, fs.ErrNotExist)
		}
	}
	if _, err := path.Match(rest, ""); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	// A class such as [/] can match a slash, so that the depth is only bounded by both.
	g := &globber{pattern: rest, depth: strings.Count(rest, "/") + strings.Count(rest, "[")}
	g.walk(top.node, "", 0)
	var list []found
	for _, m := range g.matches {
		f, err := follow(root, tree.Join(top.at, m))
		if err == nil && f.node == nil {
			err = fmt.Errorf("%q: %w", m, fs.ErrNotExist)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

type globber struct {
	pattern string
	depth   int
	matches []string
}

// walk looks below no directory that matches, and behind no link.
func (g *globber) walk(n *tree.Node, at string, depth int) {
	for name, child := range n.All() {
		here := tree.Join(at, name)
		if ok, _ := path.Match(g.pattern, here); ok {
			g.matches = append(g.matches, here)
		} else if child.IsDir() && depth < g.depth {
			g.walk(child, here, depth+1)
		}
	}
}

// splitWildcards cuts a path before its first element with a wildcard.
func splitWildcards(p string) (dir, pattern string) {
	if p == "." {
		return "", ""
	}
	for rest, at := p, 0; ; {
		element, below, more := strings.Cut(rest, "/")
		if hasWildcard(element) {
			return strings.TrimSuffix(p[:at], "/"), rest
		}
		if !more {
			return p, ""
		}
		at += len(element) + 1
		rest = below
	}
}

// hasWildcard reports whether a path has a wildcard that no backslash takes away.
func hasWildcard(p string) bool {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}
