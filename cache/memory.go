package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
)

// Memory is a [Store] in the memory of this process, without limit: what is
// stored stays until the Memory is garbage. The zero value is empty and ready.
// It must not be copied.
type Memory struct {
	mu      sync.RWMutex
	records map[Key][]byte
	blobs   map[Digest][]byte // never edited once in here
	locks   map[Key]struct{}
}

var (
	_ Store   = (*Memory)(nil)
	_ Dropper = (*Memory)(nil)
	_ Locker  = (*Memory)(nil)
)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{} }

// Get implements [Store]. It returns a copy.
func (m *Memory) Get(ctx context.Context, key Key) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	data, ok := m.records[key]
	if !ok {
		return nil, ErrNotFound
	}
	return bytes.Clone(data), nil
}

// Put implements [Store]. It keeps a copy.
func (m *Memory) Put(ctx context.Context, key Key, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkRecordSize(data); err != nil {
		return err
	}
	data = slices.Concat([]byte{}, data) // never nil, so that Get returns an empty record as one
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = map[Key][]byte{}
	}
	m.records[key] = data
	return nil
}

// Open implements [Store].
func (m *Memory) Open(ctx context.Context, d Digest) (Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	data, ok := m.blobs[d]
	if !ok {
		return nil, ErrNotFound
	}
	return memoryBlob{bytes.NewReader(data)}, nil
}

// Create implements [Store].
func (m *Memory) Create(ctx context.Context) (Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &memoryWriter{store: m}, nil
}

// Drop implements [Dropper].
func (m *Memory) Drop(ctx context.Context, d Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, d)
	return nil
}

// memoryBlob hides the reader's WriteTo and the like, which would hand out the
// stored slice itself.
type memoryBlob struct{ r *bytes.Reader }

func (b memoryBlob) ReadAt(p []byte, off int64) (int, error) { return b.r.ReadAt(p, off) }
func (b memoryBlob) Size() int64                             { return b.r.Size() }
func (b memoryBlob) Close() error                            { return nil }

type memoryWriter struct {
	store *Memory
	buf   []byte
	done  bool
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	if w.done {
		return 0, ErrDone
	}
	w.buf = append(w.buf, p...)
	return len(p), nil
}

func (w *memoryWriter) Commit(ctx context.Context, want Digest) (Digest, error) {
	if w.done {
		return Digest{}, ErrDone
	}
	w.done = true
	data := w.buf
	w.buf = nil
	if err := ctx.Err(); err != nil {
		return Digest{}, err
	}
	got := Digest(sha256.Sum256(data))
	if err := Verify("commit", want, got); err != nil {
		return Digest{}, err
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if w.store.blobs == nil {
		w.store.blobs = map[Digest][]byte{}
	}
	w.store.blobs[got] = data
	return got, nil
}

func (w *memoryWriter) Discard() error {
	w.done, w.buf = true, nil
	return nil
}

func checkRecordSize(data []byte) error {
	if len(data) > MaxRecord {
		return fmt.Errorf("%w: record of %d bytes, at most %d; put it in a blob and let the record name that", ErrTooLarge, len(data), MaxRecord)
	}
	return nil
}
