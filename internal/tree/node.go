package tree

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
)

// A Kind says what a [Node] is. The zero Kind is none of them.
type Kind uint8

// The kinds of nodes. Sockets have none: no layer format carries them.
const (
	Dir Kind = iota + 1
	File
	Symlink
	CharDevice
	BlockDevice
	Fifo
)

var kindNames = [...]string{"invalid", "directory", "file", "symlink", "character device", "block device", "fifo"}

// String returns the kind in words, for messages.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kindNames[k]
}

// An Xattr is one extended attribute. Value must not be edited once it is part of a [Meta].
type Xattr struct {
	Name  string
	Value []byte
}

// Meta is the metadata that every kind of node has. See inode(7).
type Meta struct {
	Mode     uint32  // 07777: permission bits, setuid 04000, setgid 02000, sticky 01000
	UID, GID uint32  // numeric owner
	Mtime    int64   // nanoseconds since the Unix epoch
	Xattrs   []Xattr // sorted by name, names unique, nil when none
}

// Equal reports whether m and o are the same in every field.
func (m Meta) Equal(o Meta) bool {
	return m.Mode == o.Mode && m.UID == o.UID && m.GID == o.GID && m.Mtime == o.Mtime &&
		slices.EqualFunc(m.Xattrs, o.Xattrs, func(a, b Xattr) bool {
			return a.Name == b.Name && string(a.Value) == string(b.Value)
		})
}

// normal returns m with the mode cut to its 12 bits and the attributes sorted;
// of two attributes with one name the later stays, as it would on a disk.
func (m Meta) normal() Meta {
	m.Mode &= 0o7777
	if len(m.Xattrs) == 0 {
		m.Xattrs = nil
		return m
	}
	ascending := func(i int) bool { return m.Xattrs[i-1].Name < m.Xattrs[i].Name }
	for i := 1; i < len(m.Xattrs); i++ {
		if !ascending(i) {
			m.Xattrs = sortXattrs(m.Xattrs)
			break
		}
	}
	return m
}

func sortXattrs(x []Xattr) []Xattr {
	x = slices.Clone(x)
	slices.SortStableFunc(x, func(a, b Xattr) int { return cmp.Compare(a.Name, b.Name) })
	out := x[:0]
	for i, a := range x {
		if i+1 == len(x) || x[i+1].Name != a.Name {
			out = append(out, a)
		}
	}
	return out
}

// A Node is one file, directory or other object of a tree, with everything
// below it. It is immutable and safe for concurrent use; trees share nodes freely.
// It does not know its own name. The zero Node is not valid: use the constructors.
type Node struct {
	meta    Meta
	kind    Kind
	size    int64
	group   uint64
	content Digest
	target  string
	major   uint32
	minor   uint32
	dir     *dirData // for Dir only, never nil there
}

// dirData is what a directory has beyond its metadata. While an Editor owns it
// (owner is the Editor's current token) it may change; everybody else sees only
// directories whose owner has been retired.
type dirData struct {
	owner    *token
	chunks   []*chunk
	count    int
	tail     int  // upper bound of the length of the longest path below, in bytes
	grouped  bool // some node below may have a group; never false when one has
	identity digestPair
	key      digestPair
}

// digestPair caches the two forms of one digest of a directory.
type digestPair struct {
	plain  atomic.Pointer[Digest] // hard links left out
	linked atomic.Pointer[Digest] // with the partition into hard links
}

// NewDir returns an empty directory. Use an [Editor] to fill it.
func NewDir(m Meta) *Node {
	return &Node{kind: Dir, meta: m.normal(), dir: &dirData{}}
}

// NewFile returns a regular file whose bytes are known by their digest and size.
// A group other than 0 says that the names that share it in one tree are hard
// links of one inode; see the package comment for what that means in digests.
func NewFile(m Meta, content Digest, size int64, group uint64) *Node {
	return &Node{kind: File, meta: m.normal(), content: content, size: max(size, 0), group: group}
}

// NewSymlink returns a symbolic link. Its mode becomes 0777, the only one that Linux gives to a link.
func NewSymlink(m Meta, target string) *Node {
	m = m.normal()
	m.Mode = 0o777
	return &Node{kind: Symlink, meta: m, target: target, size: int64(len(target))}
}

// NewDevice returns a device node; k is [CharDevice] or [BlockDevice], anything
// but BlockDevice counts as CharDevice.
func NewDevice(k Kind, m Meta, major, minor uint32) *Node {
	if k != BlockDevice {
		k = CharDevice
	}
	return &Node{kind: k, meta: m.normal(), major: major, minor: minor}
}

// NewFifo returns a named pipe.
func NewFifo(m Meta) *Node { return &Node{kind: Fifo, meta: m.normal()} }

// Kind says what the node is.
func (n *Node) Kind() Kind { return n.kind }

// IsDir reports whether the node is a directory. A nil node is none.
func (n *Node) IsDir() bool { return n != nil && n.kind == Dir }

// Meta returns the metadata; its Xattrs are shared and must not be edited.
func (n *Node) Meta() Meta { return n.meta }

// Size returns the bytes of a file, the length of a symlink's target, else 0.
func (n *Node) Size() int64 { return n.size }

// Content returns the digest of a file's bytes; zero for other kinds.
func (n *Node) Content() Digest { return n.content }

// Target returns where a symlink points; "" for other kinds.
func (n *Node) Target() string { return n.target }

// Group returns the hard-link group of a file, 0 for none.
func (n *Node) Group() uint64 { return n.group }

// Device returns the numbers of a device node.
func (n *Node) Device() (major, minor uint32) { return n.major, n.minor }

// WithMeta returns a copy of n with other metadata. A directory keeps its children.
func (n *Node) WithMeta(m Meta) *Node {
	c := *n
	c.meta = m.normal()
	switch n.kind {
	case Symlink:
		c.meta.Mode = 0o777
	case Dir:
		c.dir = n.dir.share(nil)
	}
	return &c
}

// WithGroup returns a copy of n in another hard-link group. Only a file can have one; other kinds are returned as they are.
func (n *Node) WithGroup(group uint64) *Node {
	if n.kind != File || n.group == group {
		return n
	}
	c := *n
	c.group = group
	return &c
}

// Len returns how many children a directory has, 0 for other kinds.
func (n *Node) Len() int {
	if n.dir == nil {
		return 0
	}
	return n.dir.count
}

// Child returns the child with that name, nil when there is none.
func (n *Node) Child(name string) *Node {
	if n == nil || n.dir == nil {
		return nil
	}
	return n.dir.get(name)
}

// All iterates over a directory's children in the byte order of their names.
func (n *Node) All() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		if n.dir == nil {
			return
		}
		for _, c := range n.dir.chunks {
			for _, e := range c.entries {
				if !yield(e.name, e.node) {
					return
				}
			}
		}
	}
}
