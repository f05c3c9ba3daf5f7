package cache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// aged puts records 0 to n-1, of which record i was last used n-i hours before now.
func aged(t *testing.T, s *cache.Disk, dir string, n int, now time.Time) {
	t.Helper()
	for i := range n {
		if err := s.Put(t.Context(), testKey(i), fmt.Appendf(nil, "record %d", i)); err != nil {
			t.Fatal(err)
		}
		usedAt(t, recordFile(dir, testKey(i)), now.Add(-time.Duration(n-i)*time.Hour))
	}
}

// usedAt makes a file one that was made and last used at a time.
func usedAt(t *testing.T, name string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

func ids(c *cache.Collection) (out []string) {
	for _, r := range c.Removed {
		out = append(out, r.ID)
	}
	return out
}

func keys(n ...int) (out []string) {
	for _, i := range n {
		out = append(out, testKey(i).Hex())
	}
	return out
}

func TestCollectPolicies(t *testing.T) {
	const block = 4096
	for _, test := range []struct {
		name   string
		policy cache.Policy
		want   []int
		reason cache.Reason
	}{
		{"nothing", cache.Policy{}, nil, 0},
		{"age", cache.Policy{MaxAge: 3*time.Hour + time.Minute}, []int{0, 1}, cache.ReasonAge},
		{"bytes", cache.Policy{MaxBytes: 3 * block}, []int{0, 1}, cache.ReasonBytes},
		{"bytes, nothing to do", cache.Policy{MaxBytes: 5 * block}, nil, 0},
		{"all", cache.Policy{All: true}, []int{0, 1, 2, 3, 4}, cache.ReasonAll},
		{"kinds", cache.Policy{All: true, Kinds: []cache.Kind{cache.KindBlob}}, nil, 0},
		{"free", cache.Policy{MinFree: 1 << 62}, []int{0, 1, 2, 3, 4}, cache.ReasonFree},
		{"age and bytes", cache.Policy{MaxAge: 200 * time.Minute, MaxBytes: 5 * block}, []int{0, 1}, cache.ReasonAge},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openDisk(t, dir)
			aged(t, s, dir, 5, time.Now())
			for _, dry := range []bool{true, false} {
				test.policy.DryRun = dry
				c, err := s.Collect(t.Context(), test.policy)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(ids(c), keys(test.want...)) {
					t.Fatalf("dry run %v: removed %v, want records %v", dry, c.Removed, test.want)
				}
				for _, r := range c.Removed {
					if r.Reason != test.reason || r.Kind != cache.KindRecord {
						t.Errorf("removed %v, want the reason %v", r, test.reason)
					}
				}
				if want := int64(len(test.want)) * block; c.Freed != want {
					t.Errorf("dry run %v: freed %d, want %d", dry, c.Freed, want)
				}
			}
			for i := range 5 {
				_, err := s.Get(t.Context(), testKey(i))
				if removed := slices.Contains(test.want, i); removed != isError(err, cache.ErrNotFound) {
					t.Errorf("record %d: error %v, removed should be %v", i, err, removed)
				}
			}
		})
	}
}

func TestCollectRefuses(t *testing.T) {
	s := openDisk(t, t.TempDir())
	for _, p := range []cache.Policy{
		{MaxBytes: -1}, {MinFree: -1}, {MaxAge: -time.Second}, {All: true, Kinds: []cache.Kind{"blobs"}},
	} {
		if _, err := s.Collect(t.Context(), p); err == nil {
			t.Errorf("policy %+v: no error", p)
		}
	}
}

// What was used since the oldest living lease began stays, whatever the policy; what nobody asked for
// goes.
func TestCollectLease(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	aged(t, s, dir, 5, time.Now())
	l, err := s.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), testKey(1)); err != nil {
		t.Fatal(err)
	}
	if err := cache.Touch(t.Context(), s, []cache.Key{testKey(3), testKey(99)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), testKey(5), nil); err != nil {
		t.Fatal(err)
	}
	other := openDisk(t, dir) // as of another process
	c, err := other.Collect(t.Context(), cache.Policy{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ids(c), keys(0, 2, 4)) || c.Lease.IsZero() {
		t.Errorf("removed %v, want records 0, 2 and 4", c.Removed)
	}
	l.Close()
	c, err = other.Collect(t.Context(), cache.Policy{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Removed) != 3 || !c.Lease.IsZero() {
		t.Errorf("after the lease: removed %v, want records 1, 3 and 5", c.Removed)
	}
}

// The state of records is another one after each change of one of them, and only then.
func TestTouchRecordsTellsTheirState(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	list := []cache.Key{testKey(1), testKey(2), testKey(3)}
	state := func() cache.Digest {
		t.Helper()
		d, err := s.TouchRecords(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	put := func(k cache.Key, data string) {
		t.Helper()
		if err := s.Put(t.Context(), k, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[cache.Digest]string{}
	for _, c := range []struct {
		what string
		do   func()
	}{
		{"empty", func() {}},
		{"one", func() { put(list[0], "1") }},
		{"two", func() { put(list[2], "1") }},
		{"longer", func() { put(list[2], "22") }},
		{"put later", func() {
			put(list[2], "33")
			later := time.Now().Add(time.Second)
			if err := os.Chtimes(recordFile(dir, list[2]), time.Time{}, later); err != nil {
				t.Fatal(err)
			}
		}},
		{"removed", func() {
			if _, err := s.Collect(t.Context(), cache.Policy{All: true}); err != nil {
				t.Fatal(err)
			}
			put(list[0], "333")
		}},
	} {
		c.do()
		got := state()
		if state() != got {
			t.Errorf("%s: a look at it changes it", c.what)
		}
		if before, ok := seen[got]; ok {
			t.Errorf("%s: the state is that of %s", c.what, before)
		}
		seen[got] = c.what
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.TouchRecords(ctx, list); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
