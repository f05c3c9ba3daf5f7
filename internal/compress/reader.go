package compress

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrDamaged is found in errors of a reader when the compressed bytes or the list of blocks are not what a Writer made.
var ErrDamaged = errors.New("compress: damaged block")

// cachedBlocks is how many blocks a reader keeps: enough for a few sequential readers.
const cachedBlocks = 4

// ReaderAt reads the uncompressed bytes at any offset. It keeps four blocks and
// decompresses one block for a read elsewhere. It is safe for concurrent use. Checksums are not looked at: compare digests of what is read.
type ReaderAt struct {
	r      io.ReaderAt
	size   int64
	format Format
	blocks []int64
	total  int64

	mu    sync.Mutex
	cache []cached // most recently used last
}

type cached struct {
	index int64
	data  []byte
}

// NewReaderAt returns a reader of what a [Writer] made of total bytes in a format
// other than [None]: r has size bytes, blocks are those of [Writer.Blocks]. A list that cannot be true is an
// error that wraps [ErrDamaged], here or at the read that finds it out.
func NewReaderAt(r io.ReaderAt, size int64, f Format, blocks []int64, total int64) (*ReaderAt, error) {
	each := int64(f.BlockSize())
	if each == 0 {
		return nil, fmt.Errorf("compress: format %d has no blocks", f)
	}
	if total < 0 || int64(len(blocks)) != (total+each-1)/each {
		return nil, fmt.Errorf("%w: %d blocks for %d bytes", ErrDamaged, len(blocks), total)
	}
	last := int64(len(f.frame().head())) - 1
	for i, at := range blocks {
		if at <= last || at >= size {
			return nil, fmt.Errorf("%w: block %d begins at %d", ErrDamaged, i, at)
		}
		last = at
	}
	return &ReaderAt{r: r, size: size, format: f, blocks: blocks, total: total}, nil
}

// Size returns the number of uncompressed bytes.
func (r *ReaderAt) Size() int64 { return r.total }

// ReadAt is [io.ReaderAt] over the uncompressed bytes.
func (r *ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("compress: read at negative offset %d", off)
	}
	n, each := 0, int64(r.format.BlockSize())
	for n < len(p) && off < r.total {
		data, err := r.block(off / each)
		if err != nil {
			return n, err
		}
		c := copy(p[n:], data[off%each:])
		n += c
		off += int64(c)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// block returns the bytes of one block. Two readers may decompress one block at once; both are right.
func (r *ReaderAt) block(i int64) ([]byte, error) {
	if data := r.cached(i); data != nil {
		return data, nil
	}
	end := r.size
	if int(i)+1 < len(r.blocks) {
		end = r.blocks[i+1]
	}
	each := int64(r.format.BlockSize())
	data := make([]byte, min(each, r.total-i*each))
	if _, err := r.format.decode(data, io.NewSectionReader(r.r, r.blocks[i], end-r.blocks[i])); err != nil {
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
