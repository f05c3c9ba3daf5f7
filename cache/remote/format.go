package remote

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/stagewright/stagewright/cache"
)

// An index is what one manifest adds: FORMAT.md, "Index". Everything in it is sorted, each name once, so that there is one way to write it.
type index struct {
	merged  []string // endings of tags
	records []record
	blobs   []blob
}

// record is one record. A long one has its bytes in a blob.
type record struct {
	key  cache.Key
	time int64 // when it was written, in microseconds since 1970
	data []byte
	blob cache.Digest // zero when data is all of it
	size int64        // of blob
}

// blob is a blob that is there.
type blob struct {
	digest cache.Digest
	time   int64
	size   int64
}

const (
	indexHeader = "stagewright cache index 1\n"

	maxIndex    = 32 << 20 // of an index, as it is and compressed
	maxInline   = 64 << 10 // of a record in it
	maxMerged   = 100_000  // tags that one union replaces
	maxBlobSize = 1 << 42
	maxTime     = 1 << 60

	mergedEntry byte = 'm'
	recordEntry byte = 'r'
	distantOne  byte = 'R'
	blobEntry   byte = 'b'
)

func (x *index) sort() {
	slices.Sort(x.merged)
	x.merged = slices.Compact(x.merged)
	slices.SortFunc(x.records, func(a, b record) int { return bytes.Compare(a.key[:], b.key[:]) })
	slices.SortFunc(x.blobs, func(a, b blob) int { return bytes.Compare(a.digest[:], b.digest[:]) })
}

// encode writes a sorted index.
func (x *index) encode() []byte {
	var b bytes.Buffer
	put := func(n int64) { b.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) }
	b.WriteString(indexHeader)
	for _, tag := range x.merged {
		b.WriteByte(mergedEntry)
		b.WriteByte(byte(len(tag)))
		b.WriteString(tag)
	}
	for _, r := range x.records {
		kind := recordEntry
		if !r.blob.IsZero() {
			kind = distantOne
		}
		b.WriteByte(kind)
		b.Write(r.key[:])
		put(r.time)
		if kind == distantOne {
			b.Write(r.blob[:])
			put(r.size)
			continue
		}
		put(int64(len(r.data)))
		b.Write(r.data)
	}
	for _, o := range x.blobs {
		b.WriteByte(blobEntry)
		b.Write(o.digest[:])
		put(o.time)
		put(o.size)
	}
	return b.Bytes()
}

// compress is for what encode writes. The same bytes give the same bytes.
func compress(data []byte) ([]byte, error) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, err
	}
	defer w.Close()
	return w.EncodeAll(data, nil), nil
}

// expand undoes it, for at most limit bytes.
func expand(data []byte, limit int64) ([]byte, error) {
	r, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("the index: %w", err)
	}
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("the index has more than %d bytes", limit)
	}
	return out, nil
}

var errFormat = errors.New("the index is not as it should be")

// parse reads an index that anybody may have written. It accepts what encode writes of a sorted index, and nothing else. Records keep parts of data.
func parse(data []byte) (*index, error) {
	rest, ok := bytes.CutPrefix(data, []byte(indexHeader))
	if !ok {
		return nil, fmt.Errorf("%w: it begins otherwise", errFormat)
	}
	p := &parser{rest: rest, whole: len(data)}
	x := &index{}
	for last := byte(0); len(p.rest) > 0 && p.err == nil; {
		kind := p.take(1)[0]
		if rank(kind) < rank(last) {
			p.fail("an entry of another kind comes before")
		}
		last = kind
		switch kind {
		case mergedEntry:
			p.merged(x)
		case recordEntry, distantOne:
			p.record(x, kind)
		case blobEntry:
			p.blob(x)
		default:
			p.fail("an entry has an unknown kind")
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return x, nil
}

// rank is where entries of a kind stand.
func rank(kind byte) int {
	switch kind {
	case mergedEntry:
		return 1
	case recordEntry, distantOne:
		return 2
	case blobEntry:
		return 3
	}
	return 0
}

type parser struct {
	rest  []byte
	whole int
	err   error
}

func (p *parser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: before byte %d: %s", errFormat, p.whole-len(p.rest), what)
	}
}

// take returns the next n bytes, zeros after a failure.
func (p *parser) take(n int64) []byte {
	if p.err == nil && n > int64(len(p.rest)) {
		p.fail("it ends in the middle")
	}
	if p.err != nil {
		return make([]byte, min(n, 32))
	}
	out := p.rest[:n:n]
	p.rest = p.rest[n:]
	return out
}

func (p *parser) number(limit int64) int64 {
	n := binary.BigEndian.Uint64(p.take(8))
	if n > uint64(limit) {
		p.fail("a number is too large")
		return 0
	}
	return int64(n)
}

func (p *parser) merged(x *index) {
	tag := string(p.take(int64(p.take(1)[0])))
	if !isEnding(tag) || len(x.merged) > 0 && x.merged[len(x.merged)-1] >= tag || len(x.merged) == maxMerged {
		p.fail("a tag is none, or not in order")
	}
	x.merged = append(x.merged, tag)
}

func (p *parser) record(x *index, kind byte) {
	r := record{key: cache.Key(p.take(32)), time: p.number(maxTime)}
	if kind == recordEntry {
		r.data = p.take(p.number(maxInline))
	} else {
		r.blob = cache.Digest(p.take(32))
		r.size = p.number(cache.MaxRecord)
		if r.blob.IsZero() {
			p.fail("a record is in no blob")
		}
	}
	if n := len(x.records); n > 0 && bytes.Compare(x.records[n-1].key[:], r.key[:]) >= 0 {
		p.fail("a record is not in order")
	}
	x.records = append(x.records, r)
}

func (p *parser) blob(x *index) {
	o := blob{digest: cache.Digest(p.take(32)), time: p.number(maxTime), size: p.number(maxBlobSize)}
	if n := len(x.blobs); n > 0 && bytes.Compare(x.blobs[n-1].digest[:], o.digest[:]) >= 0 {
		p.fail("a blob is not in order")
	}
	x.blobs = append(x.blobs, o)
}

// newer orders what is known under one name: the latest first, and of the same microsecond the one from the manifest whose tag is the last.
func newer(time int64, tag string, otherTime int64, otherTag string) bool {
	if c := cmp.Compare(time, otherTime); c != 0 {
		return c > 0
	}
	return tag > otherTag
}
