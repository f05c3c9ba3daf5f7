package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math"
)

// CorruptError says that bytes do not have the digest under which they were
// stored, or under which they were to be stored.
type CorruptError struct {
	// Want is the digest asked for, Got that of the bytes.
	Want, Got Digest
	// Where says where the bytes were met: "read" from a store, or "commit"
	// into one.
	Where string
}

// Error names both digests, where the bytes were met, and what to do.
func (e *CorruptError) Error() string {
	if e.Where == "commit" {
		return fmt.Sprintf("cache: commit: bytes written have digest %v, want %v; nothing was stored", e.Got, e.Want)
	}
	return fmt.Sprintf("cache: %s: stored bytes of %v have digest %v; the blob is damaged and must be made again", e.Where, e.Want, e.Got)
}

// Verify returns a [*CorruptError] unless got is want or want is zero. All
// digests in this package, and in every store, are compared here.
func Verify(where string, want, got Digest) error {
	if want.IsZero() || want == got {
		return nil
	}
	return &CorruptError{Want: want, Got: got, Where: where}
}

// NewReader returns the bytes of a blob as a stream, and their length. The
// stream verifies: where the bytes end it returns io.EOF only if they have the
// digest d, else a [*CorruptError], and then the store forgets the blob if it
// is a [Dropper]. So a caller must not let go of what it read (rename a file
// into place, say) before it has seen io.EOF. The stream ends with the
// context's error when the context does.
//
// A blob that is elsewhere is here when NewReader returns: see [Fetcher].
//
// Errors: [ErrNotFound] when there is no such blob; others as the store gives.
func NewReader(ctx context.Context, s Store, d Digest) (io.ReadCloser, int64, error) {
	return newReader(ctx, s, d, math.MaxInt64)
}

func newReader(ctx context.Context, s Store, d Digest, limit int64) (io.ReadCloser, int64, error) {
	blob, err := s.Open(ctx, d)
	if err != nil {
		return nil, 0, err
	}
	size := blob.Size()
	if size > limit {
		err = fmt.Errorf("%w: blob %v has %d bytes, the limit here is %d", ErrTooLarge, d, size, limit)
	} else if f, ok := blob.(Fetcher); ok {
		err = f.Fetch(ctx)
	}
	if err != nil {
		blob.Close()
		return nil, 0, err
	}
	r := &verifier{ctx: ctx, store: s, want: d, blob: blob, src: io.NewSectionReader(blob, 0, size), hash: sha256.New()}
	return r, size, nil
}

// ReadBlob returns the verified bytes of a blob of at most limit bytes.
//
// Errors: [ErrNotFound]; [ErrTooLarge] for a longer blob, of which nothing is
// then read; [*CorruptError] as for [NewReader].
func ReadBlob(ctx context.Context, s Store, d Digest, limit int64) ([]byte, error) {
	r, size, err := newReader(ctx, s, d, limit)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out bytes.Buffer
	// ReadFrom wants spare room to see the end without growing once more.
	out.Grow(int(size) + bytes.MinRead)
	if _, err := out.ReadFrom(r); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// PutBlob stores data as one blob and returns its digest. Errors are those of
// the store's Create, Write and Commit.
func PutBlob(ctx context.Context, s Store, data []byte) (Digest, error) {
	w, err := s.Create(ctx)
	if err != nil {
		return Digest{}, err
	}
	defer w.Discard()
	if _, err := w.Write(data); err != nil {
		return Digest{}, err
	}
	return w.Commit(ctx, Digest{})
}

// verifier is the one place where bytes out of a store are checked.
type verifier struct {
	ctx   context.Context
	store Store
	want  Digest
	blob  Blob
	src   io.Reader
	hash  hash.Hash
	err   error // sticky
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	if err := v.ctx.Err(); err != nil {
		v.err = err
		return 0, err
	}
	n, err := v.src.Read(p)
	v.hash.Write(p[:n])
	if err == io.EOF {
		err = v.finish()
	}
	v.err = err
	return n, err
}

func (v *verifier) finish() error {
	err := Verify("read", v.want, Digest(v.hash.Sum(nil)))
	if err == nil {
		return io.EOF
	}
	DropBlob(v.ctx, v.store, v.want, v.blob)
	return err
}

// DropBlob has the store s forget the blob d, which was opened as b and is damaged: the next one who asks for it finds it missing, and makes
// it again. A [Disk] does not forget what somebody has put in its place since b was opened, nor does a [Layered] one in front or behind.
// It does nothing for a store that is no [Dropper], and tells no error: whoever has read b knows that its bytes are bad either way.
func DropBlob(ctx context.Context, s Store, d Digest, b Blob) {
	if b, ok := b.(selfDropper); ok {
		b.drop(ctx)
	} else if s, ok := s.(Dropper); ok {
		_ = s.Drop(ctx, d)
	}
}

// selfDropper is a Blob that can be dropped itself: not what somebody has put in its place since it was opened.
type selfDropper interface{ drop(ctx context.Context) }

func (v *verifier) Close() error { return v.blob.Close() }
