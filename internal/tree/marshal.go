package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The form of a list of changes, version 1:
//
//	list   = "swtree" 1 count { change }
//	change = shared suffix flags [ node [ group ] ]
//	flags  = 0 removed, 1 node, 3 opaque directory
//
// Shared is how many bytes the path has in common with the one before it, suffix
// the rest of it. Node is the encoding of encode.go with mtime; a file is
// followed by its group, numbered from 1 in the order of appearance. Each list
// has one form only: Unmarshal refuses every other.
const marshalMagic = "swtree\x01"

const (
	flagRemoved = 0
	flagNode    = 1
	flagOpaque  = 3

	// All paths together may have this many bytes, and so many more for each
	// byte of the encoding: else shared prefixes could expand a thousandfold.
	freePathBytes  = 4 << 20
	pathBytesRatio = 64
)

// ErrFormat is found in every error of [Unmarshal].
var ErrFormat = errors.New("not a list of changes")

// Marshal encodes changes, which must be in the order of [Walk] with no path
// twice, as from [Diff]; Unmarshal refuses any other list. Children of
// directory nodes are not encoded, and groups are numbered anew.
func Marshal(changes []Change) []byte {
	b := make([]byte, 0, 64+80*len(changes))
	b = append(b, marshalMagic...)
	b = binary.AppendUvarint(b, uint64(len(changes)))
	groups := map[uint64]uint64{}
	last := ""
	for _, c := range changes {
		shared := commonPrefix(last, c.Path)
		b = binary.AppendUvarint(b, uint64(shared))
		b = appendString(b, c.Path[shared:])
		last = c.Path
		switch {
		case c.Node == nil:
			b = append(b, flagRemoved)
			continue
		case c.Opaque && c.Node.kind == Dir:
			b = append(b, flagOpaque)
		default:
			b = append(b, flagNode)
		}
		b = appendNode(b, c.Node, true)
		if c.Node.kind != File {
			continue
		}
		group := c.Node.group
		if group != 0 {
			id, ok := groups[group]
			if !ok {
				id = uint64(len(groups)) + 1
				groups[group] = id
			}
			group = id
		}
		b = binary.AppendUvarint(b, group)
	}
	return b
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// Unmarshal decodes what Marshal wrote. Input is not trusted: memory is bounded
// by the length of b, paths to 64 bytes for each byte of it, and whatever is not exactly a
// form that Marshal writes is an error that wraps [ErrFormat].
func Unmarshal(b []byte) ([]Change, error) {
	d := &decoder{rest: b}
	changes := d.list()
	if d.err != nil {
		return nil, fmt.Errorf("tree: unmarshal at byte %d of %d: %w: %s", len(b)-len(d.rest), len(b), ErrFormat, d.err)
	}
	return changes, nil
}

// decoder reads from the front of rest until the first error, after which every read gives zero.
type decoder struct {
	rest   []byte
	err    error
	groups uint64
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

// minChange is the least number of bytes of one change.
const minChange = 3

func (d *decoder) list() []Change {
	if len(d.rest) < len(marshalMagic) || string(d.rest[:len(marshalMagic)]) != marshalMagic {
		d.fail("unknown beginning")
		return nil
	}
	d.rest = d.rest[len(marshalMagic):]
	count := d.number(math.MaxInt64)
	if count > uint64(len(d.rest)/minChange) {
		d.fail("%d changes in %d bytes", count, len(d.rest))
		return nil
	}
	changes := make([]Change, 0, count)
	last, total := "", 0
	limit := freePathBytes + pathBytesRatio*len(d.rest)
	for i := range count {
		path := d.path(last)
		if total += len(path); total > limit {
			d.fail("more than %d bytes of paths", limit)
		}
		if d.err == nil && i > 0 && ComparePaths(last, path) >= 0 {
			d.fail("%q comes after %q", path, last)
		}
		c := Change{Path: path}
		switch flags := d.byte(); flags {
		case flagRemoved:
		case flagNode, flagOpaque:
			c.Node = d.node()
			if c.Opaque = flags == flagOpaque; c.Opaque && d.err == nil && c.Node.kind != Dir {
				d.fail("%q is opaque but a %v", path, c.Node.kind)
			}
		default:
			d.fail("unknown flags %d", flags)
		}
		if d.err != nil {
			return nil
		}
		changes = append(changes, c)
		last = path
	}
	if len(d.rest) > 0 {
		d.fail("%d bytes after the end", len(d.rest))
	}
	return changes
}

func (d *decoder) path(last string) string {
	shared := d.number(uint64(len(last)))
	suffix := d.bytes(MaxPath)
	if d.err != nil {
		return ""
	}
	path := last[:shared] + string(suffix)
	if err := CheckPath(path); err != nil {
		d.fail("%v", err)
	}
	if commonPrefix(last, path) != int(shared) {
		d.fail("prefix of %q is not the longest", path)
	}
	return path
}

func (d *decoder) node() *Node {
	kind := Kind(d.byte())
	m := d.meta()
	switch kind {
	case Dir:
		return NewDir(m)
	case File:
		size := int64(d.number(math.MaxInt64))
		var content Digest
		copy(content[:], d.take(uint64(len(content))))
		group := d.number(d.groups + 1)
		d.groups = max(d.groups, group)
		return NewFile(m, content, size, group)
	case Symlink:
		if m.Mode != 0o777 {
			d.fail("symlink with mode %#o", m.Mode)
		}
		return NewSymlink(m, string(d.bytes(math.MaxInt64)))
	case CharDevice, BlockDevice:
		return NewDevice(kind, m, uint32(d.number(math.MaxUint32)), uint32(d.number(math.MaxUint32)))
	case Fifo:
		return NewFifo(m)
	}
	d.fail("unknown kind %d", kind)
	return nil
}

func (d *decoder) meta() Meta {
	m := Meta{
		Mode: uint32(d.number(0o7777)), UID: uint32(d.number(math.MaxUint32)), GID: uint32(d.number(math.MaxUint32)),
		Mtime: d.signed(),
	}
	count := d.number(uint64(len(d.rest) / 2))
	for i := range count {
		x := Xattr{Name: string(d.bytes(math.MaxInt64)), Value: append([]byte(nil), d.bytes(math.MaxInt64)...)}
		if i > 0 && d.err == nil && x.Name <= m.Xattrs[i-1].Name {
			d.fail("attribute %q comes after %q", x.Name, m.Xattrs[i-1].Name)
		}
		if d.err != nil {
			return Meta{}
		}
		m.Xattrs = append(m.Xattrs, x)
	}
	return m
}

// number reads an unsigned number in its shortest form, at most limit.
func (d *decoder) number(limit uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || n > 1 && d.rest[n-1] == 0 {
		d.fail("bad number")
		return 0
	}
	if v > limit {
		d.fail("%d is more than %d", v, limit)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) signed() int64 {
	v := d.number(math.MaxUint64)
	return int64(v>>1) ^ -int64(v&1)
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

// bytes reads a length, at most limit, and that many bytes.
func (d *decoder) bytes(limit uint64) []byte { return d.take(d.number(limit)) }

func (d *decoder) take(n uint64) []byte {
	if d.err != nil || n > uint64(len(d.rest)) {
		d.fail("cut off")
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}
