package blockgz

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// ErrDamaged is found in errors of a reader when the compressed bytes or the list of blocks are not what a Writer made.
var ErrDamaged = errors.New("blockgz: damaged block")

// cachedBlocks is how many inflated blocks a reader keeps: enough for a few sequential readers.
const cachedBlocks = 4

// ReaderAt reads the uncompressed bytes at any offset. It keeps four blocks of 1
// MiB and inflates one block for a read elsewhere. It is safe for concurrent
// use. Checksums are not looked at: compare digests of what is read.
type ReaderAt struct {
	r      io.ReaderAt
	size   int64
	blocks []int64
	total  int64

	mu    sync.Mutex
	cache []cached // most recently used last
}

type cached struct {
	index int64
	data  []byte
}

// NewReaderAt returns a reader of what a [Writer] made of total bytes: r has size
// bytes, blocks are those of [Writer.Blocks]. A list that cannot be true is an
// error that wraps [ErrDamaged], here or at the read that finds it out.
func NewReaderAt(r io.ReaderAt, size int64, blocks []int64, total int64) (*ReaderAt, error) {
	if total < 0 || int64(len(blocks)) != (total+BlockSize-1)/BlockSize {
		return nil, fmt.Errorf("%w: %d blocks for %d bytes", ErrDamaged, len(blocks), total)
	}
	last := int64(len(header)) - 1
	for i, at := range blocks {
		if at <= last || at >= size {
			return nil, fmt.Errorf("%w: block %d begins at %d", ErrDamaged, i, at)
		}
		last = at
	}
	return &ReaderAt{r: r, size: size, blocks: blocks, total: total}, nil
}

// Size returns the number of uncompressed bytes.
func (r *ReaderAt) Size() int64 { return r.total }

// ReadAt is [io.ReaderAt] over the uncompressed bytes.
func (r *ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("blockgz: read at negative offset %d", off)
	}
	n := 0
	for n < len(p) && off < r.total {
		data, err := r.block(off / BlockSize)
		if err != nil {
			return n, err
		}
		c := copy(p[n:], data[off%BlockSize:])
		n += c
		off += int64(c)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// block returns the bytes of one block. Two readers may inflate one block at once; both are right.
func (r *ReaderAt) block(i int64) ([]byte, error) {
	if data := r.cached(i); data != nil {
		return data, nil
	}
	end := r.size
	if int(i)+1 < len(r.blocks) {
		end = r.blocks[i+1]
	}
	data := make([]byte, min(BlockSize, r.total-i*BlockSize))
	fr := flate.NewReader(io.NewSectionReader(r.r, r.blocks[i], end-r.blocks[i]))
	defer fr.Close()
	if _, err := io.ReadFull(fr, data); err != nil {
		return nil, fmt.Errorf("%w %d: %w", ErrDamaged, i, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cache) == cachedBlocks {
		r.cache = append(r.cache[:0], r.cache[1:]...)
	}
	r.cache = append(r.cache, cached{i, data})
	return data, nil
}

func (r *ReaderAt) cached(i int64) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, c := range r.cache {
		if c.index == i {
			copy(r.cache[at:], r.cache[at+1:])
			r.cache[len(r.cache)-1] = c
			return c.data
		}
	}
	return nil
}
