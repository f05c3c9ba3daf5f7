// Package cachetest checks implementations of [cache.Store].
//
// Call [Test] from a test of the implementation. It passes only for a store
// that keeps every promise in the comments of Store, Blob and Writer, the error
// values included, and is worth most under the race detector.
package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// Test runs the suite. open returns a new empty store, and arranges for what
// must be cleaned up through t. The suite holds about 40 MiB in the store.
func Test(t *testing.T, open func(t *testing.T) cache.Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, s cache.Store)
	}{
		{"RecordMissing", recordMissing},
		{"RecordRoundTrip", recordRoundTrip},
		{"RecordReplaced", recordReplaced},
		{"RecordCopied", recordCopied},
		{"RecordsTogether", recordsTogether},
		{"RecordTooLarge", recordTooLarge},
		{"BlobMissing", blobMissing},
		{"BlobRoundTrip", blobRoundTrip},
		{"BlobReaderAt", blobReaderAt},
		{"BlobTwice", blobTwice},
		{"BlobOutlivesDrop", blobOutlivesDrop},
		{"CommitWrongDigest", commitWrongDigest},
		{"CommitRightDigest", commitRightDigest},
		{"CommitOnce", commitOnce},
		{"FollowWriter", followWriter},
		{"Discard", discard},
		{"Invisible", invisible},
		{"Liar", liar},
		{"ReadLimit", readLimit},
		{"Cancelled", cancelled},
		{"CancelledReader", cancelledReader},
		{"ConcurrentRecords", concurrentRecords},
		{"ConcurrentBlobs", concurrentBlobs},
		{"Lease", lease},
		{"Touch", touch},
		{"Collect", collect},
		{"Lock", lock},
		{"LockWaits", lockWaits},
		{"LockCancelled", lockCancelled},
		{"LockContended", lockContended},
		{"Dir", dir},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// key returns a key of the suite's own.
func key(n int) cache.Key { return cache.NewKey("cachetest", 1).Int("n", int64(n)).Sum() }

// pattern returns n bytes that repeat nowhere near.
func pattern(n int, seed uint32) []byte {
	out := make([]byte, n)
	x := seed*2654435761 + 1
	for i := range out {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		out[i] = byte(x >> 11)
	}
	return out
}

func mustPutBlob(t *testing.T, s cache.Store, data []byte) cache.Digest {
	t.Helper()
	d, err := cache.PutBlob(t.Context(), s, data)
	if err != nil {
		t.Fatalf("PutBlob of %d bytes: %v", len(data), err)
	}
	return d
}

func wantBlob(t *testing.T, s cache.Store, d cache.Digest, want []byte) {
	t.Helper()
	got, err := cache.ReadBlob(t.Context(), s, d, int64(len(want)))
	if err != nil {
		t.Fatalf("ReadBlob(%v): %v", d, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("ReadBlob(%v): %d bytes, not the %d written", d, len(got), len(want))
	}
}

func wantNoBlob(t *testing.T, s cache.Store, d cache.Digest) {
	t.Helper()
	b, err := s.Open(t.Context(), d)
	if err == nil {
		b.Close()
	}
	wantIs(t, fmt.Sprintf("Open(%v)", d), err, cache.ErrNotFound)
}

func wantIs(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

func wantCorrupt(t *testing.T, what string, err error, want, got cache.Digest) {
	t.Helper()
	var corrupt *cache.CorruptError
	if !errors.As(err, &corrupt) {
		t.Fatalf("%s: error %v, want a *cache.CorruptError", what, err)
	}
	if corrupt.Want != want || corrupt.Got != got {
		t.Fatalf("%s: want %v and got %v in the error, should be %v and %v", what, corrupt.Want, corrupt.Got, want, got)
	}
}

// lies is a store whose every blob has its last bit changed, or one byte more
// when empty.
type lies struct{ cache.Store }

func (l lies) Open(ctx context.Context, d cache.Digest) (cache.Blob, error) {
	b, err := l.Store.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	data, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		data = []byte{0}
	} else {
		data[len(data)-1] ^= 1
	}
	return lie{bytes.NewReader(data)}, nil
}

type lie struct{ *bytes.Reader }

func (lie) Close() error { return nil }
