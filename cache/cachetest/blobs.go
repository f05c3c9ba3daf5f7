package cachetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stagewright/stagewright/cache"
)

func blobMissing(t *testing.T, s cache.Store) {
	d := cache.Digest(sha256.Sum256([]byte("never stored")))
	wantNoBlob(t, s, d)
	wantNoBlob(t, s, cache.Digest{})
	_, err := cache.ReadBlob(t.Context(), s, d, 10)
	wantIs(t, "ReadBlob", err, cache.ErrNotFound)
	_, _, err = cache.NewReader(t.Context(), s, d)
	wantIs(t, "NewReader", err, cache.ErrNotFound)
}

func blobRoundTrip(t *testing.T, s cache.Store) {
	for i, n := range []int{0, 1, 4096, 10 << 20} {
		data := pattern(n, uint32(i))
		want := cache.Digest(sha256.Sum256(data))
		if got := mustPutBlob(t, s, data); got != want {
			t.Fatalf("PutBlob of %d bytes returned %v, their digest is %v", n, got, want)
		}
		wantBlob(t, s, want, data)
		r, size, err := cache.NewReader(t.Context(), s, want)
		if err != nil {
			t.Fatal(err)
		}
		if size != int64(n) {
			t.Errorf("NewReader says %d bytes, stored were %d", size, n)
		}
		if n > 1<<20 {
			// TestReader would read it byte by byte.
			var got bytes.Buffer
			if _, err := got.ReadFrom(r); err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Errorf("reading %d bytes: got %d, error %v", n, got.Len(), err)
			}
		} else if err := iotest.TestReader(r, data); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func blobReaderAt(t *testing.T, s cache.Store) {
	data := pattern(100_000, 1)
	blob, err := s.Open(t.Context(), mustPutBlob(t, s, data))
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	if blob.Size() != int64(len(data)) {
		t.Fatalf("Size is %d, want %d", blob.Size(), len(data))
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for off := w * 100; off+777 <= len(data); off += 9_999 {
				p := make([]byte, 777)
				if n, err := blob.ReadAt(p, int64(off)); n != len(p) || !bytes.Equal(p, data[off:off+n]) {
					t.Errorf("ReadAt %d: %d bytes, error %v", off, n, err)
				}
			}
		})
	}
	wg.Wait()
	p := make([]byte, 10)
	if n, err := blob.ReadAt(p, blob.Size()-4); n != 4 || err != io.EOF || !bytes.Equal(p[:4], data[len(data)-4:]) {
		t.Errorf("ReadAt across the end: %d bytes, error %v; want 4, io.EOF", n, err)
	}
	if n, err := blob.ReadAt(p, blob.Size()+1); n != 0 || err != io.EOF {
		t.Errorf("ReadAt beyond the end: %d bytes, error %v; want 0, io.EOF", n, err)
	}
}

func blobTwice(t *testing.T, s cache.Store) {
	data := []byte("stored twice")
	d := mustPutBlob(t, s, data)
	blob, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	if again := mustPutBlob(t, s, data); again != d {
		t.Fatalf("the same bytes have digests %v and %v", d, again)
	}
	p := make([]byte, len(data))
	if _, err := blob.ReadAt(p, 0); (err != nil && err != io.EOF) || !bytes.Equal(p, data) {
		t.Errorf("blob opened before the second commit reads %q, error %v", p, err)
	}
	wantBlob(t, s, d, data)
}

func blobOutlivesDrop(t *testing.T, s cache.Store) {
	dropper, ok := s.(cache.Dropper)
	if !ok {
		return
	}
	data := []byte("dropped while open")
	d := mustPutBlob(t, s, data)
	blob, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	for range 2 {
		if err := dropper.Drop(t.Context(), d); err != nil {
			t.Fatalf("Drop: %v", err)
		}
	}
	wantNoBlob(t, s, d)
	p := make([]byte, len(data))
	if _, err := blob.ReadAt(p, 0); (err != nil && err != io.EOF) || !bytes.Equal(p, data) {
		t.Errorf("open blob after Drop reads %q, error %v", p, err)
	}
	mustPutBlob(t, s, data)
	wantBlob(t, s, d, data)
}

// liar checks that a damaged byte is seen whatever store it comes from.
func liar(t *testing.T, s cache.Store) {
	for _, data := range [][]byte{{}, []byte("x"), pattern(200_000, 3)} {
		d := mustPutBlob(t, s, data)
		changed := append([]byte{}, data...)
		if len(data) == 0 {
			changed = []byte{0}
		} else {
			changed[len(data)-1] ^= 1
		}
		got := cache.Digest(sha256.Sum256(changed))
		_, err := cache.ReadBlob(t.Context(), lies{s}, d, 1<<20)
		wantCorrupt(t, "ReadBlob", err, d, got)
		r, _, err := cache.NewReader(t.Context(), lies{s}, d)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		wantCorrupt(t, "reading to the end", err, d, got)
		if n != int64(len(changed)) {
			t.Errorf("read %d bytes before the error, want %d", n, len(changed))
		}
		_, err = r.Read(make([]byte, 1))
		wantCorrupt(t, "reading once more", err, d, got)
		r.Close()
		wantBlob(t, s, d, data)
	}
}

func readLimit(t *testing.T, s cache.Store) {
	d := mustPutBlob(t, s, []byte("12345"))
	_, err := cache.ReadBlob(t.Context(), s, d, 4)
	wantIs(t, "ReadBlob with a limit of 4 for 5 bytes", err, cache.ErrTooLarge)
	wantBlob(t, s, d, []byte("12345"))
}

func concurrentBlobs(t *testing.T, s cache.Store) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for r := range 10 {
				data := pattern(1000*(1+r), uint32(r+w%2*100)) // each by four workers
				d, err := cache.PutBlob(t.Context(), s, data)
				if err != nil {
					t.Errorf("PutBlob: %v", err)
					return
				}
				got, err := cache.ReadBlob(context.Background(), s, d, 1<<20)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("ReadBlob right after PutBlob: %d bytes, error %v", len(got), err)
					return
				}
			}
		})
	}
	wg.Wait()
}
