package remote

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/stagewright/stagewright/cache"
)

// pending is what waits to be sent.
type pending struct {
	mu      sync.Mutex
	closed  bool
	dir     string                // where the directory is made
	made    string                // it, once it is there
	records map[cache.Key]*record // replaced, never changed
	blobs   map[cache.Digest]*waiting
}

// waiting is a blob in a file of the directory, or in another store.
type waiting struct {
	size int64
	file string
	from cache.Store
}

func (w *waiting) open(ctx context.Context, d cache.Digest) (cache.Blob, error) {
	if w.from != nil {
		return w.from.Open(ctx, d)
	}
	f, err := os.Open(w.file)
	if err != nil {
		return nil, err
	}
	return fileBlob{f, w.size}, nil
}

// reader gives the bytes for sending.
func (w *waiting) reader(ctx context.Context, d cache.Digest) (io.ReadCloser, error) {
	if w.from != nil {
		r, _, err := cache.NewReader(ctx, w.from, d)
		return r, err
	}
	return os.Open(w.file)
}

// fileBlob is a blob in a file.
type fileBlob struct {
	*os.File
	size int64
}

func (b fileBlob) Size() int64 { return b.size }

// create makes a file in the directory.
func (p *pending) create() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fs.ErrClosed
	}
	if p.made == "" {
		dir, err := os.MkdirTemp(p.dir, "stagewright-cache-")
		if err != nil {
			return nil, err
		}
		p.made = dir
	}
	return os.CreateTemp(p.made, "")
}

func (p *pending) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	clear(p.records)
	clear(p.blobs)
	if p.made == "" {
		return nil
	}
	return os.RemoveAll(p.made)
}

func (p *pending) putRecord(r *record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fs.ErrClosed
	}
	p.records[r.key] = r
	return nil
}

func (p *pending) record(key cache.Key) *record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records[key]
}

// add adds a blob, unless it is there.
func (p *pending) add(d cache.Digest, w *waiting) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fs.ErrClosed
	}
	if p.blobs[d] != nil {
		return discard(w)
	}
	p.blobs[d] = w
	return nil
}

func (p *pending) blob(d cache.Digest) *waiting {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blobs[d]
}

func (p *pending) drop(d cache.Digest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.blobs[d]
	delete(p.blobs, d)
	return discard(w)
}

func discard(w *waiting) error {
	if w == nil || w.file == "" {
		return nil
	}
	return os.Remove(w.file)
}

// snapshot copies what is there now.
func (p *pending) snapshot() (records []*record, blobs map[cache.Digest]*waiting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.records {
		records = append(records, r)
	}
	blobs = map[cache.Digest]*waiting{}
	for d, w := range p.blobs {
		blobs[d] = w
	}
	return records, blobs
}

// sent removes what a snapshot has, and nobody replaced since.
func (p *pending) sent(records []*record, blobs map[cache.Digest]*waiting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range records {
		if p.records[r.key] == r {
			delete(p.records, r.key)
		}
	}
	for d, w := range blobs {
		if p.blobs[d] == w {
			delete(p.blobs, d)
			_ = discard(w) // it is removed with the directory
		}
	}
}

// writer is a [cache.Writer] into a file.
type writer struct {
	of   *Store
	file *os.File
	hash hash.Hash
	size int64
}

func (w *writer) Write(p []byte) (int, error) {
	if w.file == nil {
		return 0, cache.ErrDone
	}
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	return n, err
}

// Commit implements [cache.Writer].
func (w *writer) Commit(ctx context.Context, want cache.Digest) (cache.Digest, error) {
	if w.file == nil {
		return cache.Digest{}, cache.ErrDone
	}
	defer w.Discard()
	if err := ctx.Err(); err != nil {
		return cache.Digest{}, err
	}
	got := cache.Digest(w.hash.Sum(nil))
	if err := cache.Verify("commit", want, got); err != nil {
		return cache.Digest{}, err
	}
	name := w.file.Name()
	err := w.file.Close()
	if err == nil {
		err = w.of.pending.add(got, &waiting{size: w.size, file: name})
	}
	if err != nil {
		return cache.Digest{}, err
	}
	w.file = nil
	return got, nil
}

// Discard implements [cache.Writer].
func (w *writer) Discard() error {
	if w.file != nil {
		w.file.Close()
		os.Remove(w.file.Name())
		w.file = nil
	}
	return nil
}

func (s *Store) newWriter() (*writer, error) {
	f, err := s.pending.create()
	if err != nil {
		return nil, err
	}
	return &writer{of: s, file: f, hash: sha256.New()}, nil
}
