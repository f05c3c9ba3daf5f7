package cache_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// TestBlobOfManyWrites: a blob whose writing to the disk begins before it is complete is the one that was written.
func TestBlobOfManyWrites(t *testing.T) {
	d, err := cache.OpenDisk(t.TempDir(), cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w, err := d.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Discard()
	random := rand.New(rand.NewPCG(1, 2))
	var want []byte
	for len(want) < 20<<20 {
		piece := bytes.Repeat([]byte{byte(random.Uint32())}, 1+random.IntN(3<<20))
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
		want = append(want, piece...)
	}
	digest, err := w.Commit(t.Context(), cache.Digest{})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := cache.NewReader(t.Context(), d, digest)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}
