package conformance

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// kind is the type of an entry.
type kind string

const (
	kindFile   kind = "file"
	kindDir    kind = "dir"
	kindLink   kind = "link"
	kindHard   kind = "hard"
	kindFifo   kind = "fifo"
	kindSocket kind = "socket"
	kindChar   kind = "char"
	kindBlock  kind = "block"
)

// entry is one file as a case or a base describes it.
type entry struct {
	path         string
	kind         kind
	mode         uint32 // permission bits up to 07777
	uid, gid     int
	data         []byte
	host         string // a file of this machine that has the content instead of data
	target       string // of a symbolic link, as written; of a hard link, a path of the same set
	major, minor uint32
	xattrs       []Pair
}

// fileset is an ordered set of entries. Of a directory tree every path is there once, its parents before it; the content of an archive is a
// plain list, in which paths may be repeated and strange.
type fileset struct {
	list    []*entry
	byPath  map[string]*entry
	archive bool
}

func newFileset() *fileset { return &fileset{byPath: map[string]*entry{}} }

// add appends an entry; a missing directory above it is made with mode 0755.
func (s *fileset) add(e *entry) error {
	if s.archive {
		s.list = append(s.list, e)
		s.byPath[e.path] = e
		return nil
	}
	if e.path != path.Clean(e.path) || strings.HasPrefix(e.path, "/") || strings.HasPrefix(e.path, "../") || e.path == ".." {
		return fmt.Errorf("%q is no clean relative path", e.path)
	}
	if e.path == "." {
		if e.kind != kindDir {
			return fmt.Errorf("the root is a directory, not a %s", e.kind)
		}
	} else if dir := path.Dir(e.path); dir != "." && s.byPath[dir] == nil {
		if err := s.add(&entry{path: dir, kind: kindDir, mode: 0o755}); err != nil {
			return err
		}
	}
	if old := s.byPath[e.path]; old != nil {
		if old.kind != kindDir || e.kind != kindDir {
			return fmt.Errorf("%s is there twice", e.path)
		}
		*old = *e
		return nil
	}
	s.byPath[e.path] = e
	s.list = append(s.list, e)
	return nil
}

func (s *fileset) content(name string) ([]byte, bool) {
	e := s.byPath[name]
	if e == nil || e.kind != kindFile {
		return nil, false
	}
	return e.data, true
}

// sorted returns the entries with hard links last, so that what they name is there before them.
func (s *fileset) sorted() []*entry {
	list := slices.Clone(s.list)
	slices.SortStableFunc(list, func(a, b *entry) int {
		if a, b := a.kind == kindHard, b.kind == kindHard; a != b {
			if a {
				return 1
			}
			return -1
		}
		return strings.Compare(a.path, b.path)
	})
	return list
}
