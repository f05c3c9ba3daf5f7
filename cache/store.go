package cache

import (
	"context"
	"errors"
	"io"
)

// ErrNotFound says that a store does not hold what was asked for, or holds it
// damaged: for a cache both mean "make it again". It is never wrapped round
// another cause, so a full disk or a missing permission is not mistaken for it.
var ErrNotFound = errors.New("cache: not found")

// ErrTooLarge says that a record is longer than [MaxRecord], or a blob longer
// than the limit given to [ReadBlob].
var ErrTooLarge = errors.New("cache: too large")

// ErrDone says that a [Writer] was used after its Commit or Discard.
var ErrDone = errors.New("cache: blob already committed or discarded")

// MaxRecord is the greatest length of a record, in bytes. Records are read
// into memory whole; what can grow belongs in a blob that the record names.
const MaxRecord = 16 << 20

// Store keeps blobs under their digest and records under a key.
//
// All methods may be called at the same time from several goroutines. Every
// method returns the context's error when the context has ended before it
// starts. Implementations prove themselves with package cache/cachetest.
//
// What else a store can do is asked through package functions: [Lease], [Touch], [Lock], [Dir].
type Store interface {
	// Get returns the record under key. The slice is the caller's.
	// Errors: [ErrNotFound] when there is none or it is damaged; anything else
	// means that the store could not be read.
	Get(ctx context.Context, key Key) ([]byte, error)

	// Put keeps data under key in place of what was there; a reader sees the
	// old record or the new one, whole. Of several writers the last wins. When
	// Put returns, every blob committed before it through the same store lasts
	// at least as long as the record. The store keeps no reference to data.
	// Errors: [ErrTooLarge] beyond [MaxRecord]; anything else means that the
	// record was not stored and the old one, if any, is still there.
	Put(ctx context.Context, key Key, data []byte) error

	// Open returns a blob's bytes as they are stored, not yet verified: read
	// them through [NewReader] or [ReadBlob] wherever a damaged byte could
	// reach a user. The blob stays readable until it is closed, whatever
	// happens to the store meanwhile.
	// Errors: [ErrNotFound] when there is none.
	Open(ctx context.Context, d Digest) (Blob, error)

	// Create starts a new blob, which is nowhere visible before its Commit.
	// The caller ends it with Commit or Discard.
	Create(ctx context.Context) (Writer, error)
}

// Blob is the content of an opened blob. Its methods may be called at the same
// time, but Close only once the others have returned.
type Blob interface {
	io.ReaderAt
	io.Closer
	// Size returns the length in bytes, fixed when the blob was opened.
	Size() int64
}

// Writer takes the bytes of a new blob. It is for one goroutine at a time.
type Writer interface {
	io.Writer

	// Commit makes the bytes written so far available under their digest, and
	// returns it. A zero want accepts any bytes.
	// Errors: [*CorruptError] when want is given and the bytes have another
	// digest; [ErrDone] after Commit or Discard. After any error nothing is
	// stored, and the Writer is done.
	Commit(ctx context.Context, want Digest) (Digest, error)

	// Discard drops the bytes. After Commit or Discard it does nothing and
	// returns nil, so that it can be deferred.
	Discard() error
}

// Follower is a [Writer] whose bytes can be read while it is written.
type Follower interface {
	Writer

	// Follow opens what was written, and what will be, for reading beside the Writer: ReadAt gives the bytes of the Writes that
	// have returned. They can be read after Commit and Discard, too, until the caller closes it.
	// An error that wraps [errors.ErrUnsupported] says that the medium cannot do that. After Commit or Discard it is [ErrDone].
	Follow() (Followed, error)
}

// Followed is what a [Follower] gives to be read.
type Followed interface {
	io.ReaderAt
	io.Closer
}

// Leaser is a [Store] from which things may be removed while programs use it.
type Leaser interface {
	// Lease keeps from being removed what is used in the store, or comes into it,
	// while the lease is open: what Get, Open and [Touch] found, what Put and Commit
	// stored, and what a [Keeper] was told of. What was there before and nobody
	// asked for is not covered. The lease ends with Close, or with the process. A second
	// Close does nothing.
	Lease(ctx context.Context) (io.Closer, error)
}

// Lease asks s for a lease. For a store that is no [Leaser] it returns a closer
// that does nothing.
func Lease(ctx context.Context, s Store) (io.Closer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l, ok := s.(Leaser); ok {
		return l.Lease(ctx)
	}
	return noLease{}, nil
}

type noLease struct{}

func (noLease) Close() error { return nil }

// DirStore is a [Store] with a place on disk for what is no blob and no record.
type DirStore interface {
	// Dir returns the absolute path of a directory for private use by the
	// library's other packages, each in a subdirectory of its own. It exists,
	// and only its owner may enter it.
	Dir() string
}

// Dir returns the private directory of s, and false for a store without one.
func Dir(s Store) (string, bool) {
	if l, ok := s.(*Layered); ok {
		return Dir(l.front)
	}
	if d, ok := s.(DirStore); ok {
		return d.Dir(), true
	}
	return "", false
}

// Dropper is a [Store] that can forget a blob. The verifying readers use it so
// that a damaged blob is found missing the next time, and made again.
type Dropper interface {
	// Drop removes the blob. That it is absent is no error.
	Drop(ctx context.Context, d Digest) error
}
