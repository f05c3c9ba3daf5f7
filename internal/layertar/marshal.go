package layertar

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/stagewright/stagewright/internal/tree"
)

// The form of an index, version 1; numbers are unsigned varints, strings their length and bytes:
//
//	index = "swindex" 1 diffID size changes { offset } count { path target }
//
// Changes is the form of tree.Marshal as a string; one offset follows for each
// file among them, in order.
const indexMagic = "swindex\x01"

// Marshal encodes the index, so that a layer need be read once only.
func (x *Index) Marshal() []byte {
	changes := tree.Marshal(x.Changes)
	b := make([]byte, 0, len(changes)+64+8*len(x.Offsets))
	b = append(b, indexMagic...)
	b = append(b, x.DiffID[:]...)
	b = binary.AppendUvarint(b, uint64(x.Size))
	b = appendString(b, string(changes))
	for _, c := range x.Changes {
		if isFile(c) {
			b = binary.AppendUvarint(b, uint64(x.Offsets[c.Path]))
		}
	}
	b = binary.AppendUvarint(b, uint64(len(x.Links)))
	for _, l := range x.Links {
		b = appendString(appendString(b, l.Path), l.Target)
	}
	return b
}

func isFile(c tree.Change) bool { return c.Node != nil && c.Node.Kind() == tree.File }

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// UnmarshalIndex decodes what Marshal wrote. Input is not trusted: offsets lie
// within the tar, paths are clean, memory is bounded by the length of b as by
// [tree.Unmarshal]. Every error wraps [tree.ErrFormat].
func UnmarshalIndex(b []byte) (*Index, error) {
	d := &decoder{rest: b}
	x := &Index{Offsets: map[string]int64{}}
	if string(d.take(uint64(len(indexMagic)))) != indexMagic {
		return nil, fmt.Errorf("layer index: %w: unknown beginning", tree.ErrFormat)
	}
	copy(x.DiffID[:], d.take(uint64(len(x.DiffID))))
	x.Size = int64(d.number(math.MaxInt64))
	changes := d.take(d.number(math.MaxInt64))
	if d.bad {
		return nil, fmt.Errorf("layer index: %w: cut off", tree.ErrFormat)
	}
	var err error
	if x.Changes, err = tree.Unmarshal(changes); err != nil {
		return nil, fmt.Errorf("layer index: %w", err)
	}
	for _, c := range x.Changes {
		if isFile(c) {
			off := int64(d.number(math.MaxInt64))
			d.bad = d.bad || c.Node.Size() > x.Size || off > x.Size-c.Node.Size()
			x.Offsets[c.Path] = off
		}
	}
	for range d.number(uint64(len(d.rest))) {
		l := Link{Path: string(d.take(d.number(tree.MaxPath))), Target: string(d.take(d.number(tree.MaxPath)))}
		d.bad = d.bad || l.Path == "" || l.Target == "" || tree.CheckPath(l.Path) != nil || tree.CheckPath(l.Target) != nil
		if d.bad {
			break
		}
		x.Links = append(x.Links, l)
	}
	if d.bad || len(d.rest) > 0 {
		return nil, fmt.Errorf("layer index: %w: wrong at byte %d of %d", tree.ErrFormat, len(b)-len(d.rest), len(b))
	}
	return x, nil
}

// decoder reads from the front of rest until something is bad, after which every read gives zero.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) number(limit uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	if d.bad || n <= 0 || v > limit {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}
