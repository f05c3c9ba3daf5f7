package cachetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// locker skips a test of a store without locks, for which cache.Lock must still give
// something.
func locker(t *testing.T, s cache.Store) cache.Locker {
	t.Helper()
	l, ok := s.(cache.Locker)
	if ok {
		return l
	}
	for range 2 {
		if _, err := cache.Lock(t.Context(), s, key(1), nil); err != nil {
			t.Fatalf("Lock of a store without locks: %v", err)
		}
	}
	t.Skip("the store is no cache.Locker")
	return nil
}

func lock(t *testing.T, s cache.Store) {
	l := locker(t, s)
	one, err := l.TryLock(t.Context(), key(1))
	if err != nil {
		t.Fatalf("TryLock: %v", err)
	}
	_, err = l.TryLock(t.Context(), key(1))
	wantIs(t, "TryLock of a held lock", err, cache.ErrLocked)
	other, err := l.TryLock(t.Context(), key(2))
	if err != nil {
		t.Fatalf("TryLock of another key: %v", err)
	}
	for range 2 {
		if err := one.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	again, err := l.TryLock(t.Context(), key(1))
	if err != nil {
		t.Fatalf("TryLock after Close: %v", err)
	}
	one.Close() // is not the lock of the one that came after it
	_, err = l.TryLock(t.Context(), key(1))
	wantIs(t, "TryLock after the Close of an earlier lock", err, cache.ErrLocked)
	again.Close()
	other.Close()
}

func lockWaits(t *testing.T, s cache.Store) {
	l := locker(t, s)
	held, err := l.TryLock(t.Context(), key(1))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	told := 0
	got, err := cache.Lock(t.Context(), s, key(1), func() {
		told++
		mustPut(t, s, key(1), []byte("made by the holder"))
		held.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if told != 1 {
		t.Errorf("told %d times that it waits, want once", told)
	}
	wantRecord(t, s, key(1), []byte("made by the holder"))
}

func lockCancelled(t *testing.T, s cache.Store) {
	l := locker(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	held, err := l.TryLock(t.Context(), key(1))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_, err = cache.Lock(ctx, s, key(1), cancel)
	wantIs(t, "Lock, waiting", err, context.Canceled)
	_, err = cache.Lock(ctx, s, key(2), nil)
	wantIs(t, "Lock", err, context.Canceled)
	_, err = l.TryLock(ctx, key(2))
	wantIs(t, "TryLock", err, context.Canceled)
}

func lockContended(t *testing.T, s cache.Store) {
	locker(t, s)
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				l, err := cache.Lock(t.Context(), s, key(1), nil)
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) > 1 {
					most.Store(2)
				}
				inside.Add(-1)
				l.Close()
			}
		})
	}
	wg.Wait()
	if most.Load() > 1 {
		t.Error("two held the lock of one key at once")
	}
}
