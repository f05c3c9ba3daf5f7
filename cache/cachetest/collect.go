package cachetest

import (
	"context"
	"slices"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// touch asks for what every store must do with Touch, a cache.Toucher or not.
func touch(t *testing.T, s cache.Store) {
	mustPut(t, s, key(1), []byte("record"))
	d := mustPutBlob(t, s, []byte("blob"))
	for range 2 {
		if err := cache.Touch(t.Context(), s, []cache.Key{key(1), key(2)}, []cache.Digest{d, digest("absent")}); err != nil {
			t.Fatalf("Touch, of what is there and of what is not: %v", err)
		}
	}
	if err := cache.Touch(t.Context(), s, nil, nil); err != nil {
		t.Errorf("Touch of nothing: %v", err)
	}
	wantRecord(t, s, key(1), []byte("record"))
	wantBlob(t, s, d, []byte("blob"))
	_, err := s.Get(t.Context(), key(2))
	wantIs(t, "Get of what was touched and is not there", err, cache.ErrNotFound)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantIs(t, "Touch", cache.Touch(ctx, s, []cache.Key{key(1)}, nil), context.Canceled)
}

// collect asks that a collector spares what is used under a lease, in each of the ways to use it.
func collect(t *testing.T, s cache.Store) {
	c, ok := s.(cache.Collector)
	if !ok {
		t.Skip("the store is no cache.Collector")
	}
	for i := range 5 {
		mustPut(t, s, key(i), []byte("record"))
	}
	var blobs []cache.Digest
	for _, name := range []string{"opened", "touched", "neither", "committed again"} {
		blobs = append(blobs, mustPutBlob(t, s, []byte(name)))
	}
	if _, err := c.Collect(t.Context(), cache.Policy{}); err != nil {
		t.Fatalf("Collect by a policy that says nothing: %v", err)
	}

	lease, err := cache.Lease(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	wantRecord(t, s, key(1), []byte("record"))
	if err := cache.Touch(t.Context(), s, []cache.Key{key(2)}, blobs[1:2]); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, key(3), []byte("new"))
	wantBlob(t, s, blobs[0], []byte("opened"))
	mustPutBlob(t, s, []byte("committed again"))

	done, err := c.Collect(t.Context(), cache.Policy{All: true})
	if err != nil {
		t.Fatalf("Collect: %v", err)
	}
	want := []string{key(0).Hex(), key(4).Hex(), blobs[2].Hex()}
	for _, r := range done.Removed {
		if !slices.Contains(want, r.ID) {
			t.Errorf("removed %v, which is in use", r)
		}
	}
	if len(done.Removed) != len(want) || done.Lease.IsZero() {
		t.Errorf("removed %v beside a lease since %v, want the 3 entries that nobody used", done.Removed, done.Lease)
	}
	wantRecord(t, s, key(1), []byte("record"))
	wantRecord(t, s, key(2), []byte("record"))
	wantRecord(t, s, key(3), []byte("new"))
	wantBlob(t, s, blobs[0], []byte("opened"))
	wantBlob(t, s, blobs[1], []byte("touched"))
	wantBlob(t, s, blobs[3], []byte("committed again"))
	wantNoBlob(t, s, blobs[2])

	u, err := c.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Kinds) < 2 || u.Kinds[0].Entries != 3 || u.Kinds[1].Entries != 3 {
		t.Errorf("usage %+v, want 3 records and 3 blobs", u)
	}
}
