package remote_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/remote"
)

// put gathers blobs of the texts, and a record for each, with keys from first on.
func put(t *testing.T, s cache.Store, first int, texts ...string) []cache.Digest {
	t.Helper()
	var digests []cache.Digest
	for n, text := range texts {
		d, err := cache.PutBlob(t.Context(), s, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), key(first+n), []byte(text)); err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
	}
	return digests
}

func flush(t *testing.T, s *remote.Store) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// want reads the records of keys from first on, and blobs of the same texts.
func want(t *testing.T, s cache.Store, first int, texts ...string) {
	t.Helper()
	for n, text := range texts {
		data, err := s.Get(t.Context(), key(first+n))
		if err != nil || string(data) != text {
			t.Errorf("record %d: %q, %v; want %q", first+n, data, err, text)
		}
	}
}

func wantBlob(t *testing.T, s cache.Store, d cache.Digest, text string) {
	t.Helper()
	data, err := cache.ReadBlob(t.Context(), s, d, 1<<20)
	if err != nil || string(data) != text {
		t.Errorf("blob %v: %q, %v; want %q", d, data, err, text)
	}
}

func wantRequests(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("requests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const (
	hello     = "GET /v2/"
	listing   = "GET /v2/cache/tags/list"
	writers   = "GET /v2/cache/manifests/main-w"
	unions    = "GET /v2/cache/manifests/main-u"
	fetching  = "GET /v2/cache/blobs/DIGEST"
	asking    = "HEAD /v2/cache/blobs/DIGEST"
	beginning = "POST /v2/cache/blobs/uploads/"
	sending   = "PUT /v2/cache/blobs/uploads/ID"
	naming    = "PUT /v2/cache/manifests/main-w"
)

// TestRequests counts what is asked.
func TestRequests(t *testing.T) {
	s := serve(t)
	one := s.store(t, options(t))
	digests := put(t, one, 0, "text 0", "text 1")
	wantRequests(t, s.take()) // gathered
	flush(t, one)
	var want4 []string
	for range 4 { // two blobs, the index, the config
		want4 = append(want4, asking, beginning, sending)
	}
	wantRequests(t, s.take(), append(want4, hello, listing, naming)...)
	flush(t, one)
	wantRequests(t, s.take()) // nothing is new

	// A second writer names what is new, and sends nothing else.
	two := s.store(t, options(t))
	put(t, two, 0, "text 0", "text 1", "text 2")
	flush(t, two)
	wantRequests(t, s.take(), hello, listing, writers, fetching,
		asking, beginning, sending, asking, beginning, sending, asking, naming)
	// One with nothing new sends nothing.
	three := s.store(t, options(t))
	put(t, three, 0, "text 0", "text 1", "text 2")
	flush(t, three)
	wantRequests(t, s.take(), hello, listing, writers, writers, fetching, fetching)

	// A reader pays for the indexes once, and for the bytes that it reads.
	reader := s.store(t, options(t))
	for range 3 {
		want(t, reader, 0, "text 0", "text 1", "text 2")
	}
	var open []cache.Blob
	for range 3 {
		for n, d := range digests {
			b, err := reader.Open(t.Context(), d)
			if err != nil || b.Size() != 6 {
				t.Fatalf("blob %d: %v", n, err)
			}
			open = append(open, b)
		}
	}
	wantRequests(t, s.take(), hello, listing, writers, writers, fetching, fetching)
	for range 2 {
		p := make([]byte, 1)
		if _, err := open[1].ReadAt(p, 5); err != nil || p[0] != '1' {
			t.Errorf("%q, %v", p, err)
		}
	}
	wantRequests(t, s.take(), fetching)
	for _, b := range open {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if st := reader.Stats(); st.Fetched != 1 || st.FetchedBytes != 6 || st.Manifests != 2 || st.Records != 3 || st.Blobs != 3 {
		t.Errorf("%+v", st)
	}
}

// TestLayeredIsLazy: what is read is downloaded once; what is opened, or held against its size, is not.
func TestLayeredIsLazy(t *testing.T) {
	s := serve(t)
	one := s.store(t, options(t))
	digests := put(t, one, 0, "text 0", "text 1")
	flush(t, one)
	s.take()
	disk, err := cache.OpenDisk(t.TempDir(), cache.DiskOptions{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	store := cache.NewLayered(cache.NewMemory(), cache.NewLayered(disk, s.store(t, options(t))))
	for range 2 {
		want(t, store, 0, "text 0", "text 1")
		b, err := store.Open(t.Context(), digests[0])
		if err != nil || b.Size() != 6 {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	wantRequests(t, s.take(), hello, listing, writers, fetching)
	for range 2 {
		wantBlob(t, store, digests[1], "text 1")
	}
	wantRequests(t, s.take(), fetching)
	wantBlob(t, disk, digests[1], "text 1")
	want(t, disk, 0, "text 0", "text 1")
	if _, err := disk.Open(t.Context(), digests[0]); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("what nobody has read is in the front: %v", err)
	}
}

// TestTake: a blob of another store is sent from there, and not copied before.
func TestTake(t *testing.T) {
	s := serve(t)
	from := cache.NewMemory()
	digests := put(t, from, 0, "text 0", "text 1")
	o := options(t)
	one := s.store(t, o)
	for _, d := range digests {
		if err := cache.CopyBlob(t.Context(), one, from, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := cache.CopyBlob(t.Context(), one, from, cache.Digest{1}); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("a blob that is nowhere: %v", err)
	}
	flush(t, one)
	for n, d := range digests {
		wantBlob(t, s.store(t, options(t)), d, fmt.Sprintf("text %d", n))
	}
	// What was taken and is gone at the Flush is an error of the Flush, and sends nothing that is seen.
	d := put(t, from, 5, "text 5")[0]
	if err := cache.CopyBlob(t.Context(), one, from, d); err != nil {
		t.Fatal(err)
	}
	if err := one.Put(t.Context(), key(5), []byte("text 5")); err != nil {
		t.Fatal(err)
	}
	if err := from.Drop(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if err := one.Flush(t.Context()); err == nil {
		t.Error("Flush of a blob that is gone")
	}
	if _, err := s.store(t, options(t)).Get(t.Context(), key(5)); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("a record of a failed Flush: %v", err)
	}
	from2 := put(t, from, 5, "text 5")[0]
	flush(t, one)
	wantBlob(t, s.store(t, options(t)), from2, "text 5")
	want(t, s.store(t, options(t)), 5, "text 5")
}
