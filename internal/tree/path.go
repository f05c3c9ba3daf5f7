package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
)

// Limits of names and paths, those of Linux (NAME_MAX, and PATH_MAX less its
// NUL byte). No directory can be nested deeper than MaxPath/2.
const (
	MaxName  = 255
	MaxPath  = 4095
	maxLinks = 255 // symbolic links followed in one Resolve
)

var errNotExist = fs.ErrNotExist

// The causes found in a [PathError], for errors.Is; a missing element is [fs.ErrNotExist].
var (
	ErrNotDir  = errors.New("not a directory")
	ErrLoop    = errors.New("too many levels of symbolic links")
	ErrName    = errors.New("not a valid name")
	ErrTooLong = errors.New("name or path too long")
	ErrRoot    = errors.New("the root can only be a directory")
)

// A PathError says which operation failed on which path of a tree, and why.
type PathError struct {
	Op   string // "put", "resolve", ...
	Path string // relative to the root; "" is the root
	Err  error
}

// Error says operation, path and cause; the path is printed from the root on, as "/a/b".
func (e *PathError) Error() string { return fmt.Sprintf("tree: %s /%s: %v", e.Op, e.Path, e.Err) }

// Unwrap returns the cause.
func (e *PathError) Unwrap() error { return e.Err }

// CheckPath reports why path cannot name an object of a tree: it must be
// slash separated, relative, without empty elements, ".", ".." or NUL
// bytes, and within [MaxName] and [MaxPath]. "" is the root. The error wraps
// [ErrName] or [ErrTooLong].
func CheckPath(path string) error {
	if path == "" {
		return nil
	}
	if len(path) > MaxPath {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLong, len(path), MaxPath)
	}
	for rest, more := path, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if err := checkName(name); err != nil {
			return err
		}
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%w: %q", ErrName, name)
	case len(name) > MaxName:
		return fmt.Errorf("%w: %q... has %d bytes, the limit is %d", ErrTooLong, name[:32], len(name), MaxName)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("%w: %q has a NUL byte", ErrName, name)
	}
	return nil
}

// ComparePaths orders paths as [Walk] visits them: a directory before what is
// in it, names in one directory by their bytes.
func ComparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		// A slash ends a name and so comes before every byte of a longer one.
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// Join appends name to the path of a directory; "" is the root.
func Join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// splitLast cuts a path into its directory and its last name.
func splitLast(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// Lookup returns the node at path, nil when there is none. It follows no link.
func Lookup(root *Node, path string) *Node {
	n := root
	for rest := path; rest != "" && n != nil; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		n = n.Child(name)
	}
	return n
}

// Resolve walks path from the root, following symbolic links inside it: an
// absolute target starts at the root, ".." at the root stays there, as for a
// process after chroot(2). The last element is followed only with followLast.
// Path need not be clean and may start with a slash.
//
// It returns where it arrived, clean and relative to the root, and the node
// there; the node is nil when only the last element is missing. Otherwise the
// error is a *[PathError]: [fs.ErrNotExist] or [ErrNotDir] for an element in
// the middle, [ErrLoop] after 255 links, [ErrTooLong].
func Resolve(root *Node, path string, followLast bool) (string, *Node, error) {
	at, n, rest, err := resolve(root, path, followLast)
	if err == nil && n == nil && rest != "" {
		err = missing(path, at)
	}
	if err != nil {
		return "", nil, err
	}
	return at, n, nil
}

func missing(path, at string) error {
	return resolveError(path, fmt.Errorf("/%s: %w", at, fs.ErrNotExist))
}

func resolveError(path string, err error) error {
	return &PathError{Op: "resolve", Path: strings.TrimLeft(path, "/"), Err: err}
}

// maxWork bounds the bytes and the elements that one Resolve looks at, links included.
const maxWork = 16 * MaxPath

// resolve is Resolve, except that a missing element in the middle is no error
// when only plain names follow: at is the missing one and rest what follows.
func resolve(root *Node, path string, followLast bool) (at string, n *Node, rest string, err error) {
	var names []string // where we are
	nodes := []*Node{root}
	here := func() string { return strings.Join(names, "/") }
	links := 0
	rest = path
	for steps := 0; rest != ""; steps++ {
		if len(rest) > maxWork || steps > maxWork {
			return "", nil, "", resolveError(path, ErrTooLong)
		}
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		rest = strings.TrimLeft(rest, "/")
		dir := nodes[len(nodes)-1]
		if name == "" {
			continue
		}
		if dir.kind != Dir {
			return "", nil, "", resolveError(path, fmt.Errorf("/%s: %w", here(), ErrNotDir))
		}
		if name == "." {
			continue
		}
		if name == ".." {
			if len(names) > 0 {
				names, nodes = names[:len(names)-1], nodes[:len(nodes)-1]
			}
			continue
		}
		if err := checkName(name); err != nil {
			return "", nil, "", resolveError(path, err)
		}
		child := dir.Child(name)
		if child == nil {
			return missingAt(path, Join(here(), name), rest)
		}
		names, nodes = append(names, name), append(nodes, child)
		if child.kind != Symlink || rest == "" && !followLast {
			continue
		}
		if links++; links > maxLinks {
			return "", nil, "", resolveError(path, ErrLoop)
		}
		if child.target == "" {
			return "", nil, "", missing(path, here())
		}
		names, nodes = names[:len(names)-1], nodes[:len(nodes)-1]
		if child.target[0] == '/' {
			names, nodes = names[:0], nodes[:1]
		}
		rest = joinRest(child.target, rest)
	}
	if at = here(); len(at) > MaxPath {
		return "", nil, "", resolveError(path, ErrTooLong)
	}
	return at, nodes[len(nodes)-1], "", nil
}

// missingAt is where resolve ends when there is nothing at at.
func missingAt(path, at, rest string) (string, *Node, string, error) {
	full := strings.TrimRight(Join(at, rest), "/")
	if err := CheckPath(full); errors.Is(err, ErrTooLong) {
		return "", nil, "", resolveError(path, err)
	} else if err != nil {
		return "", nil, "", missing(path, at)
	}
	return at, nil, strings.TrimLeft(full[len(at):], "/"), nil
}

func joinRest(target, rest string) string {
	if rest == "" {
		return target
	}
	return target + "/" + rest
}

// Walk visits root (as "") and everything below it: a directory before what is
// in it, names in one directory in byte order.
func Walk(root *Node) iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		if root != nil {
			walk("", root, yield)
		}
	}
}

// walk recurses; the depth is bounded by MaxPath/2, which every tree keeps.
func walk(path string, n *Node, yield func(string, *Node) bool) bool {
	if !yield(path, n) {
		return false
	}
	if n.dir == nil {
		return true
	}
	for _, c := range n.dir.chunks {
		for _, e := range c.entries {
			if !walk(Join(path, e.name), e.node, yield) {
				return false
			}
		}
	}
	return true
}
