package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/stagewright/stagewright/internal/absent"
)

// Layered is a [Store] in front of others: memory before a disk before a
// registry. What is written goes to the front. What is read and not there is
// looked for behind, one store after the other, and stays in the front: a
// record at once, a blob when its bytes are first read. To open a blob, ask its
// size and close it costs no transfer.
//
// A store behind is never written to, and one that fails is as one that has
// nothing. A blob from behind is in the front when its bytes have its digest,
// and not before; where the front takes nothing (a full disk, a file system
// for reading) it is read from behind.
//
// A record in the front may name blobs that are still behind only. That is no
// more than the rule of every store: who finds no blob under a name in a record
// treats the record as missing.
//
// Locks, leases, the private directory and what is dropped are those of the
// front. Its methods may be called by several goroutines at once.
type Layered struct {
	front  Store
	behind []Store

	puts [64]sync.Mutex // by the first bits of a key: a record from behind never replaces one that is being put

	mu      sync.Mutex
	flights map[Digest]chan struct{} // closed when the copy of a blob to the front has ended
}

var (
	_ Store   = (*Layered)(nil)
	_ Leaser  = (*Layered)(nil)
	_ Dropper = (*Layered)(nil)
	_ Locker  = (*Layered)(nil)
	_ Toucher = (*Layered)(nil)
)

// NewLayered returns front with the stores behind it, the nearest first.
// Closing them is left to the caller. When one of them is nil, every use of the store fails with an error that says so.
func NewLayered(front Store, behind ...Store) *Layered {
	if i := absent.Index(append([]Store{front}, behind...)); i >= 0 {
		front, behind = nilStore{i}, nil
	}
	return &Layered{front: front, behind: append([]Store(nil), behind...), flights: map[Digest]chan struct{}{}}
}

// nilStore is in the place of a Layered's stores when one of them is nil.
type nilStore struct {
	place int // among the arguments of NewLayered
}

func (s nilStore) err(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("cache: argument %d of NewLayered is nil", s.place+1)
}

func (s nilStore) Get(ctx context.Context, _ Key) ([]byte, error)   { return nil, s.err(ctx) }
func (s nilStore) Put(ctx context.Context, _ Key, _ []byte) error   { return s.err(ctx) }
func (s nilStore) Open(ctx context.Context, _ Digest) (Blob, error) { return nil, s.err(ctx) }
func (s nilStore) Create(ctx context.Context) (Writer, error)       { return nil, s.err(ctx) }
func (s nilStore) Lease(ctx context.Context) (io.Closer, error)     { return nil, s.err(ctx) }

// Front returns the store that is written to.
func (l *Layered) Front() Store { return l.front }

func (l *Layered) putting(key Key) *sync.Mutex { return &l.puts[key[0]%64] }

// Get implements [Store].
func (l *Layered) Get(ctx context.Context, key Key) ([]byte, error) {
	data, err := l.front.Get(ctx, key)
	if !errors.Is(err, ErrNotFound) {
		return data, err
	}
	for _, s := range l.behind {
		data, err := s.Get(ctx, key)
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		if err == nil {
			return l.keep(ctx, key, data)
		}
	}
	return nil, ErrNotFound
}

// keep puts a record from behind in the front, unless there is one by now. A front that does not take it costs a look behind the next time.
func (l *Layered) keep(ctx context.Context, key Key, data []byte) ([]byte, error) {
	turn := l.putting(key)
	turn.Lock()
	defer turn.Unlock()
	if newer, err := l.front.Get(ctx, key); err == nil {
		return newer, nil
	}
	_ = l.front.Put(ctx, key, data)
	return data, ctx.Err()
}

// Put implements [Store]: the record is in the front.
func (l *Layered) Put(ctx context.Context, key Key, data []byte) error {
	turn := l.putting(key)
	turn.Lock()
	defer turn.Unlock()
	return l.front.Put(ctx, key, data)
}

// Open implements [Store]. A blob that is only behind is a [Fetcher].
func (l *Layered) Open(ctx context.Context, d Digest) (Blob, error) {
	blob, err := l.front.Open(ctx, d)
	if !errors.Is(err, ErrNotFound) {
		return blob, err
	}
	for n, s := range l.behind {
		blob, err := s.Open(ctx, d)
		if ctxErr := ctx.Err(); ctxErr != nil {
			if err == nil {
				blob.Close()
			}
			return nil, ctxErr
		}
		if err == nil {
			return &layeredBlob{ctx: ctx, of: l, digest: d, size: blob.Size(), from: n, open: []Blob{blob}}, nil
		}
	}
	return nil, ErrNotFound
}

// Create implements [Store]: the blob is in the front.
func (l *Layered) Create(ctx context.Context) (Writer, error) { return l.front.Create(ctx) }

// Drop implements [Dropper]: the front forgets the blob. A good copy behind is
// found the next time.
func (l *Layered) Drop(ctx context.Context, d Digest) error {
	if f, ok := l.front.(Dropper); ok {
		return f.Drop(ctx, d)
	}
	return ctx.Err()
}

// Lease implements [Leaser] for the front.
func (l *Layered) Lease(ctx context.Context) (io.Closer, error) { return Lease(ctx, l.front) }

// Touch implements [Toucher] for the front.
func (l *Layered) Touch(ctx context.Context, keys []Key, blobs []Digest) error {
	return Touch(ctx, l.front, keys, blobs)
}

// TryLock implements [Locker] with the locks of the front.
func (l *Layered) TryLock(ctx context.Context, key Key) (io.Closer, error) {
	if f, ok := l.front.(Locker); ok {
		return f.TryLock(ctx, key)
	}
	return nil, fmt.Errorf("cache: the store in front has no locks: %w", errors.ErrUnsupported)
}

// alone waits until nobody else copies d to the front, or ctx ends.
func (l *Layered) alone(ctx context.Context, d Digest) (done func(), err error) {
	for {
		l.mu.Lock()
		other, ok := l.flights[d]
		if !ok {
			flight := make(chan struct{})
			l.flights[d] = flight
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.flights, d)
				l.mu.Unlock()
				close(flight)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
