package local

import (
	"fmt"
	"path"
	"strings"

	"github.com/stagewright/stagewright/internal/tree"
)

// found is one file or directory that a source path selects.
type found struct {
	name string     // the path as matched; its last element names the copy
	at   string     // where it is, after following links
	node *tree.Node // never a symbolic link
}

// match finds what a source path selects below a root. Each element may hold the
// wildcards of path.Match, and an element "**" stands for any number of
// directories. Links named by the path are followed inside the root, also the
// last one, as COPY does. Nothing found is not an error.
func match(root *tree.Node, pattern string) ([]found, error) {
	if pattern == "." || pattern == "" {
		return []found{{node: root}}, nil
	}
	if !isPattern(pattern) {
		f, err := follow(root, pattern)
		if err != nil || f.node == nil {
			return nil, err
		}
		return []found{f}, nil
	}
	if _, err := path.Match(strings.ReplaceAll(pattern, "**", "*"), ""); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	m := &matcher{root: root, seen: map[string]bool{}}
	err := m.walk("", strings.Split(pattern, "/"))
	return m.found, err
}

func isPattern(p string) bool { return strings.ContainsAny(p, `*?[\`) }

// follow resolves a path; a node of nil says that nothing is there.
func follow(root *tree.Node, p string) (found, error) {
	at, n, err := tree.Resolve(root, p, true)
	if isNotThere(err) {
		return found{}, nil
	}
	if err != nil {
		return found{}, err
	}
	if n == nil {
		if link := tree.Lookup(root, p); link != nil {
			return found{}, fmt.Errorf("%q is a link to %q, which does not exist", p, link.Target())
		}
	}
	return found{name: p, at: at, node: n}, nil
}

type matcher struct {
	root  *tree.Node
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
		f, err := follow(m.root, dir)
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
