package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
)

// A pack is a blob of the cache with the bytes of files that are nowhere else: those
// that a copy took out of an archive, those that a function wrote, those of a base image. The
// bytes come first, then for each file digest, offset and size in the order of the digests, then
// the number of files, numbers as 8 bytes, big-endian.
const (
	packEntry = sha256.Size + 16
	packTail  = 8
)

// packWriter makes a pack. The zero value with a context and a store is ready; without a
// file it makes no blob.
type packWriter struct {
	ctx   context.Context
	store cache.Store
	w     cache.Writer // nil until the first file
	n     int64
	spans map[tree.Digest]span
	sum   hash.Hash
	buf   []byte
}

type span struct{ offset, size int64 }

// add takes the bytes of one file. What the pack has already is written again and not
// counted, since only the end of the bytes says so.
func (p *packWriter) add(r io.Reader) (d tree.Digest, size int64, err error) {
	if p.w == nil {
		if _, err := p.begin(); err != nil {
			return d, 0, err
		}
		p.sum, p.buf = sha256.New(), make([]byte, 64<<10)
	}
	p.sum.Reset()
	to := &sink{w: io.MultiWriter(p.w, p.sum), ctx: p.ctx}
	size, err = io.CopyBuffer(to, struct{ io.Reader }{r}, p.buf)
	at := p.n
	p.n += to.n
	if err != nil {
		return d, size, err
	}
	p.sum.Sum(d[:0])
	if _, ok := p.spans[d]; !ok {
		p.spans[d] = span{at, size}
	}
	return d, size, nil
}

// begin starts the pack for bytes that the caller writes itself, and tells of in spans.
func (p *packWriter) begin() (io.Writer, error) {
	w, err := p.store.Create(p.ctx)
	if err != nil {
		return nil, err
	}
	p.w, p.spans = w, map[tree.Digest]span{}
	return &sink{w: w, ctx: p.ctx}, nil
}

// commit ends the pack and returns its digest, zero when it has no file.
func (p *packWriter) commit() (cache.Digest, error) {
	if p.w == nil {
		return cache.Digest{}, nil
	}
	digests := make([]tree.Digest, 0, len(p.spans))
	for d := range p.spans {
		digests = append(digests, d)
	}
	slices.SortFunc(digests, func(a, b tree.Digest) int { return bytes.Compare(a[:], b[:]) })
	index := make([]byte, 0, len(digests)*packEntry+packTail)
	for _, d := range digests {
		index = append(index, d[:]...)
		index = binary.BigEndian.AppendUint64(index, uint64(p.spans[d].offset))
		index = binary.BigEndian.AppendUint64(index, uint64(p.spans[d].size))
	}
	index = binary.BigEndian.AppendUint64(index, uint64(len(digests)))
	if _, err := p.w.Write(index); err != nil {
		return cache.Digest{}, err
	}
	return p.w.Commit(p.ctx, cache.Digest{})
}

// discard drops a pack that was not committed.
func (p *packWriter) discard() {
	if p.w != nil {
		p.w.Discard()
	}
}

// openPacked opens the bytes of a file in a pack, which are verified as they are read.
func (s *session) openPacked(ctx context.Context, pack cache.Digest, want tree.Digest) (io.ReadCloser, error) {
	blob, err := s.opts.Store.Open(ctx, pack)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	at, err := findPacked(blob, want)
	if err != nil {
		blob.Close()
		s.doubtPack(ctx, pack)
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	return &verifier{
		rc: struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(blob, at.offset, at.size), blob},
		sum: sha256.New(), want: want,
		differs: func(got cache.Digest) error {
			cache.DropBlob(ctx, s.opts.Store, pack, blob)
			return &cache.CorruptError{Want: cache.Digest(want), Got: got, Where: "pack"}
		},
	}, nil
}

// doubtPack reads the whole of a pack that has not got what was looked for, once a session: bytes are verified as they are read, but
// nothing says that an index is right. One that is damaged is dropped, and the next build makes it again.
func (s *session) doubtPack(ctx context.Context, pack cache.Digest) {
	if _, done := s.doubted.LoadOrStore(pack, true); done {
		return
	}
	rc, _, err := cache.NewReader(ctx, s.opts.Store, pack)
	if err != nil {
		return
	}
	defer rc.Close()
	_, _ = io.Copy(io.Discard, rc)
}

// packIndex returns where the index of a pack begins, and how many files are in it.
func packIndex(b cache.Blob) (at, count int64, err error) {
	var tail [packTail]byte
	if n, err := b.ReadAt(tail[:], b.Size()-packTail); n < packTail {
		return 0, 0, fmt.Errorf("a pack of %d bytes: %w", b.Size(), err)
	}
	n := binary.BigEndian.Uint64(tail[:])
	if n > uint64(b.Size()-packTail)/packEntry {
		return 0, 0, fmt.Errorf("a pack of %d bytes with %d files", b.Size(), n)
	}
	return b.Size() - packTail - int64(n)*packEntry, int64(n), nil
}

// findPacked looks a digest up in the index of a pack.
func findPacked(b cache.Blob, want tree.Digest) (span, error) {
	end, count, err := packIndex(b)
	if err != nil {
		return span{}, err
	}
	var entry [packEntry]byte
	for lo, hi := int64(0), count; lo < hi; {
		mid := (lo + hi) / 2
		if _, err := b.ReadAt(entry[:], end+mid*packEntry); err != nil && err != io.EOF {
			return span{}, err
		}
		switch c := bytes.Compare(entry[:sha256.Size], want[:]); {
		case c == 0:
			at := span{int64(binary.BigEndian.Uint64(entry[sha256.Size:])), int64(binary.BigEndian.Uint64(entry[sha256.Size+8:]))}
			if at.offset < 0 || at.size < 0 || at.size > end || at.offset > end-at.size {
				return span{}, fmt.Errorf("a pack with a file outside of it")
			}
			return at, nil
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return span{}, fmt.Errorf("content %s is not in its pack", want)
}
