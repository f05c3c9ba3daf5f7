package source

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
)

// listed is a whole listing in memory: what the sources have that are not looked at
// on disk. It is not edited once it is made.
type listed struct {
	name    string // of the source, for messages
	entries []Entry
	byPath  map[string]int
}

func newListed(name string, entries []Entry) *listed {
	l := &listed{name: name, entries: entries, byPath: make(map[string]int, len(entries))}
	for i := range entries {
		l.byPath[entries[i].Path] = i
	}
	return l
}

// copied is the listing for a caller, who may edit the entries.
func (l *listed) copied() []Entry { return append([]Entry(nil), l.entries...) }

// regular finds the regular file at path.
func (l *listed) regular(path string) (*Entry, error) {
	p, err := cleanPath(path)
	if err == nil {
		at, ok := l.byPath[p]
		switch {
		case !ok && l.throughLink(p):
			err = ErrNotRegular
		case !ok:
			err = fs.ErrNotExist
		case !l.entries[at].Mode.IsRegular():
			err = fmt.Errorf("%w but a %s", ErrNotRegular, kind(l.entries[at].Mode))
		default:
			return &l.entries[at], nil
		}
	}
	return nil, fmt.Errorf("open %s in %s: %w", quote(path), l.name, err)
}

// throughLink reports that a part above path is there and no directory.
func (l *listed) throughLink(path string) bool {
	for i := range len(path) {
		if path[i] != '/' {
			continue
		}
		if at, ok := l.byPath[path[:i]]; ok && !l.entries[at].Mode.IsDir() {
			return true
		}
	}
	return false
}

// fill sets the digests of entries, which are this listing's.
func (l *listed) fill(entries []*Entry) error {
	for _, e := range entries {
		if !e.Mode.IsRegular() {
			continue
		}
		known, err := l.regular(e.Path)
		if err != nil {
			return &ChangedError{Source: l.name, Path: e.Path, Err: err}
		}
		e.Digest = known.Digest
	}
	return nil
}

// why answers as Files.Why does.
func (l *listed) why(path string) (Verdict, error) {
	v := Verdict{Source: l.name, Path: cleanAsked(path)}
	return v, v.look(func(p string) (fs.FileMode, error) {
		if p == "" {
			return fs.ModeDir | 0o755, nil
		}
		if at, ok := l.byPath[p]; ok {
			return l.entries[at].Mode, nil
		}
		return 0, fs.ErrNotExist
	}, func(dir string) ([]string, error) {
		if dir != "" {
			dir += "/"
		}
		var names []string
		for i := range l.entries {
			name, ok := strings.CutPrefix(l.entries[i].Path, dir)
			if ok && !strings.Contains(name, "/") {
				names = append(names, name)
			}
		}
		return names, nil
	})
}

// entriesOf lists a tree, with owners, modes and digests.
func entriesOf(root *tree.Node) []Entry {
	var out []Entry
	for p, n := range tree.Walk(root) {
		if p == "" {
			continue
		}
		m := n.Meta()
		e := Entry{Path: p, Mode: n.FileMode(), UID: m.UID, GID: m.GID, Mtime: m.Mtime, Link: n.Target(), Group: n.Group(), Digest: cache.Digest(n.Content())}
		e.Major, e.Minor = n.Device()
		if n.Kind() == tree.File {
			e.Size = n.Size()
		}
		for _, x := range m.Xattrs {
			e.Xattrs = append(e.Xattrs, Xattr(x))
		}
		out = append(out, e)
	}
	return out
}

// errClosed is the error of what is used after Close.
var errClosed = errors.New("the source is closed")
