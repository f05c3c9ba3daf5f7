package image

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ContentError says that bytes are not those that their descriptor promises.
type ContentError struct {
	Want, Got         v1.Hash // Got is zero when the size was wrong
	WantSize, GotSize int64   // GotSize is at most WantSize+1: reading stops there
}

// Error tells what is wrong, and where.
func (e *ContentError) Error() string {
	if e.Got == (v1.Hash{}) {
		if e.GotSize > e.WantSize {
			return fmt.Sprintf("content of %s: more than the %d bytes of its descriptor", e.Want, e.WantSize)
		}
		return fmt.Sprintf("content of %s: ended after %d of %d bytes", e.Want, e.GotSize, e.WantSize)
	}
	return fmt.Sprintf("content of %s: the bytes have the digest %s", e.Want, e.Got)
}

// Verify returns a reader of rc that fails with a [*ContentError], in place of io.EOF or before it, unless the bytes have the digest and
// the size. Every sink reads blobs through it. Closing it closes rc.
//
// A reader whose own method Verifies is true for the digest, because it never ends with io.EOF unless its bytes have it, is not hashed
// a second time.
func Verify(rc io.ReadCloser, digest v1.Hash, size int64) (io.ReadCloser, error) {
	h, err := v1.Hasher(digest.Algorithm)
	if err != nil {
		return nil, fmt.Errorf("content of %s: %w", digest, err)
	}
	if v, ok := rc.(interface{ Verifies(v1.Hash) bool }); ok && v.Verifies(digest) {
		h = nil
	}
	return &verifier{rc: rc, hash: h, want: digest, size: size}, nil
}

type verifier struct {
	rc   io.ReadCloser
	hash hash.Hash // nil when rc does it, or who reads
	want v1.Hash
	size int64
	n    int64
	err  error
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.rc.Read(p)
	if v.hash != nil {
		v.hash.Write(p[:n])
	}
	v.n += int64(n)
	switch {
	case v.n > v.size:
		n -= int(v.n - v.size)
		v.err = &ContentError{Want: v.want, WantSize: v.size, GotSize: v.size + 1}
	case errors.Is(err, io.EOF):
		v.err = v.atEOF()
	default:
		v.err = err
	}
	return n, v.err
}

func (v *verifier) atEOF() error {
	if v.n < v.size {
		return &ContentError{Want: v.want, WantSize: v.size, GotSize: v.n}
	}
	if v.hash == nil {
		return io.EOF
	}
	if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.want.Hex {
		return &ContentError{Want: v.want, Got: v1.Hash{Algorithm: v.want.Algorithm, Hex: got}, WantSize: v.size, GotSize: v.n}
	}
	return io.EOF
}

func (v *verifier) Close() error { return v.rc.Close() }

// OpenUnhashed opens a layer like [OpenLayer], for who hashes all of its bytes and compares the digest: what is kept in a
// cache need not be hashed twice. Layers of this library's registries, layouts and archives still end with a [*ContentError] after
// another number of bytes than their descriptor has.
func OpenUnhashed(ctx context.Context, l v1.Layer) (io.ReadCloser, error) {
	rc, err := OpenLayer(ctx, l)
	if v, ok := rc.(*verifier); ok {
		v.hash = nil
	}
	return rc, err
}

// ReadVerified reads a small blob whole: a manifest or a config. It refuses a descriptor of more than limit bytes before it calls open.
func ReadVerified(ctx context.Context, d v1.Descriptor, limit int64, open func(context.Context) (io.ReadCloser, error)) ([]byte, error) {
	if d.Size < 0 || d.Size > limit {
		return nil, fmt.Errorf("content of %s: its descriptor says %d bytes, the limit is %d", d.Digest, d.Size, limit)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	rc, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	vr, err := Verify(rc, d.Digest, d.Size)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(vr)
}
