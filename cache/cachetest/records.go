package cachetest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

func recordMissing(t *testing.T, s cache.Store) {
	_, err := s.Get(t.Context(), key(1))
	wantIs(t, "Get of a key never put", err, cache.ErrNotFound)
}

func wantRecord(t *testing.T, s cache.Store, k cache.Key, want []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), k)
	if err != nil {
		t.Fatalf("Get(%v): %v", k, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("Get(%v): %d bytes, not the %d put", k, len(got), len(want))
	}
}

func mustPut(t *testing.T, s cache.Store, k cache.Key, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), k, data); err != nil {
		t.Fatalf("Put(%v) of %d bytes: %v", k, len(data), err)
	}
}

func recordRoundTrip(t *testing.T, s cache.Store) {
	sizes := []int{0, 1, 100, 64 << 10, 1 << 20}
	for i, n := range sizes {
		mustPut(t, s, key(i), pattern(n, uint32(i)))
	}
	for i, n := range sizes {
		wantRecord(t, s, key(i), pattern(n, uint32(i)))
	}
	_, err := s.Get(t.Context(), key(len(sizes)))
	wantIs(t, "Get of another key", err, cache.ErrNotFound)
	mustPut(t, s, cache.Key{}, []byte("the zero key is a key"))
	wantRecord(t, s, cache.Key{}, []byte("the zero key is a key"))
}

func recordReplaced(t *testing.T, s cache.Store) {
	for _, text := range []string{"first", "second, longer", "3"} {
		mustPut(t, s, key(1), []byte(text))
		wantRecord(t, s, key(1), []byte(text))
	}
}

func recordCopied(t *testing.T, s cache.Store) {
	data := []byte("as put")
	mustPut(t, s, key(1), data)
	data[0] = 'X'
	wantRecord(t, s, key(1), []byte("as put"))
	got, err := s.Get(t.Context(), key(1))
	if err != nil {
		t.Fatal(err)
	}
	got[0] = 'X'
	_ = append(got[:2], "YYYY"...)
	wantRecord(t, s, key(1), []byte("as put"))
}

func recordTooLarge(t *testing.T, s cache.Store) {
	mustPut(t, s, key(1), []byte("old"))
	data := make([]byte, cache.MaxRecord+1)
	wantIs(t, "Put of MaxRecord+1 bytes", s.Put(t.Context(), key(1), data), cache.ErrTooLarge)
	wantRecord(t, s, key(1), []byte("old"))
	mustPut(t, s, key(1), data[:cache.MaxRecord])
	wantRecord(t, s, key(1), data[:cache.MaxRecord])
}

// concurrentRecords has writers and readers meet on few keys: whatever is read
// must be one of the values written under that very key.
func concurrentRecords(t *testing.T, s cache.Store) {
	const keys, workers, rounds = 4, 8, 25
	value := func(k, w, r int) []byte {
		return fmt.Appendf(nil, "%d %d %d %s", k, w, r, pattern(1+w*500, uint32(k)))
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				k := (w + r) % keys
				if err := s.Put(t.Context(), key(k), value(k, w, r)); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				k = (w + r + 1) % keys
				got, err := s.Get(context.Background(), key(k))
				if err != nil {
					continue // not yet put; what must be there is checked below
				}
				var gk, gw, gr int
				if _, err := fmt.Sscan(string(got), &gk, &gw, &gr); err != nil || gk != k || !bytes.Equal(got, value(gk, gw, gr)) {
					t.Errorf("Get of key %d: %d bytes that nobody put there", k, len(got))
					return
				}
			}
		})
	}
	wg.Wait()
	for k := range keys {
		if _, err := s.Get(t.Context(), key(k)); err != nil {
			t.Errorf("Get of key %d after all were put: %v", k, err)
		}
	}
}

// recordsTogether puts many records at once, over some that are there, and one of them again.
func recordsTogether(t *testing.T, s cache.Store) {
	const n = 200
	mustPut(t, s, key(3), []byte("older"))
	records := make([]cache.Record, n)
	for i := range records {
		records[i] = cache.Record{Key: key(i), Data: pattern(i*i%3000, uint32(i))}
	}
	records[100].Data = pattern(100<<10, 100)
	if err := cache.PutAll(t.Context(), s, records); err != nil {
		t.Fatalf("PutAll of %d records: %v", n, err)
	}
	if err := cache.PutAll(t.Context(), s, nil); err != nil {
		t.Fatalf("PutAll of nothing: %v", err)
	}
	clear(records[7].Data) // the store keeps no reference
	records[7].Data = pattern(7*7%3000, 7)
	for range 2 {
		for _, r := range records {
			wantRecord(t, s, r.Key, r.Data)
		}
	}
	data, _ := s.Get(t.Context(), key(8))
	clear(data) // the slice is the caller's
	wantRecord(t, s, key(8), records[8].Data)
	mustPut(t, s, key(5), []byte("newer"))
	wantRecord(t, s, key(5), []byte("newer"))
	wantRecord(t, s, key(6), records[6].Data)
	again := []cache.Record{{Key: key(5), Data: []byte("newest")}, {Key: key(6), Data: []byte("newest too")}}
	if err := cache.PutAll(t.Context(), s, again); err != nil {
		t.Fatalf("PutAll over records: %v", err)
	}
	for _, r := range again {
		wantRecord(t, s, r.Key, r.Data)
	}
	wantRecord(t, s, key(4), records[4].Data)
}
