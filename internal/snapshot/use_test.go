//go:build linux

package snapshot

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// setUsed makes the layers of a store last used at a time.
func setUsed(t testing.TB, store string, used time.Time) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(store, "*", layersDir, "*", manifestFile))
	for _, name := range names {
		err = errors.Join(err, stamp(unix.AT_FDCWD, name, used))
	}
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
}

// layersOf lists the layers of a store by their ids.
func layersOf(t testing.TB, store string) map[tree.Digest]Layer {
	t.Helper()
	all := map[tree.Digest]Layer{}
	if err := Layers(t.Context(), store, func(l Layer) error { all[l.ID] = l; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// leased are options of a store that a lease since a time protects.
func leased(since time.Time) Options { return Options{Since: func() time.Time { return since }} }

func openWith(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestLayersSayWhatTheDiskSays(t *testing.T) {
	for name, text := range map[string]string{
		"empty":  "d / 0755 0:0",
		"small":  smallTree,
		"linked": "d / 0755 0:0\nd d 0755 0:0\nf a 0644 0:0 " + strings.Repeat("x", 9000) + " h:1\nf d/b 0644 0:0 " + strings.Repeat("x", 9000) + " h:1\nf d/c 0644 0:0 y",
		"closed": "d / 0755 0:0\nd d 0000 0:0\nf d/a 0000 0:0 " + strings.Repeat("x", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			var c contents
			full := c.parse(t, text)
			store := tempDir(t)
			s := openStore(t, store)
			dir := filepath.Dir(mustLayer(t, s, &c, nil, full))
			check := func() {
				t.Helper()
				if os.Geteuid() != 0 && name == "closed" {
					return // du is not let in
				}
				out, err := exec.CommandContext(t.Context(), "du", "-s", "--block-size=1", dir).Output()
				if err != nil {
					t.Skip("no du:", err)
				}
				want, _ := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
				if got := layersOf(t, store)[full.Identity()]; got.Bytes != want {
					t.Errorf("%d bytes, du says %d", got.Bytes, want)
				}
			}
			check()
			if err := os.Remove(filepath.Join(dir, manifestFile)); err != nil { // nobody knows the size now
				t.Fatal(err)
			}
			check()
		})
	}
}

func stays(is, was time.Time) bool { return is.Equal(was) }

func TestRemoveGoesByTheLastUse(t *testing.T) {
	var c contents
	full := c.parse(t, smallTree)
	store := tempDir(t)
	mustLayer(t, openStore(t, store), &c, nil, full)
	id, now := full.Identity(), time.Now()
	before := layersOf(t, store)[id]
	for _, tt := range []struct {
		used, unless time.Time
		stays        bool
	}{
		{now.Add(-time.Hour), now.Add(-time.Hour), true},
		{now.Add(-time.Hour), now.Add(-2 * time.Hour), true},
		{now.Add(48 * time.Hour), now.Add(-time.Hour), true}, // the clock was set back
		{now.Add(-time.Hour), now.Add(-time.Hour + 1), false},
	} {
		setUsed(t, store, tt.used)
		freed, err := Remove(t.Context(), store, id, tt.unless)
		_, there := layersOf(t, store)[id]
		if there != tt.stays || errors.Is(err, ErrUsed) != tt.stays || err != nil && !tt.stays || !there && freed != before.Bytes {
			t.Errorf("used %v, unless %v: there %v, freed %d of %d, %v", tt.used, tt.unless, there, freed, before.Bytes, err)
		}
		if l := layersOf(t, store)[id]; stays(l.Used, tt.used) != tt.stays {
			t.Errorf("used %v, after the try at %v", tt.used, l.Used)
		}
		for _, to := range []time.Duration{time.Hour, 3 * time.Hour} { // only back
			if Settle(store, id, now.Add(to)); layersOf(t, store)[id].Used.After(now.Add(time.Hour)) {
				t.Errorf("used %v, set right to %v", tt.used, layersOf(t, store)[id].Used)
			}
		}
	}
	if left, err := filepath.Glob(filepath.Join(store, "*", tmpDir, "*", "*-*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if freed, err := Remove(t.Context(), store, id, now); freed != 0 || err != nil {
		t.Errorf("of nothing: %d, %v", freed, err)
	}
	// It is a miss.
	s := openStore(t, store)
	if s.Has(id) {
		t.Error("it is still there")
	}
	c.opens = 0
	if mustLayer(t, s, &c, nil, full); c.opens != 3 {
		t.Errorf("%d contents opened to make it again, want 3", c.opens)
	}
}

func TestALayerThatALeaseCoversIsNeverRemoved(t *testing.T) {
	var c contents
	full := c.parse(t, smallTree)
	id := full.Identity()
	store := tempDir(t)
	mustLayer(t, openStore(t, store), &c, nil, full)
	var removed atomic.Int64
	for range 30 {
		start := time.Now() // of the lease
		setUsed(t, store, start.Add(-time.Hour))
		users := []*Store{openWith(t, store, leased(start)), openWith(t, store, leased(start))}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for range 5 {
					if n, err := Remove(t.Context(), store, id, start); err == nil && n > 0 {
						removed.Add(1) // at most once, before it is used
					} else if err != nil && !errors.Is(err, ErrUsed) {
						t.Error(err)
					}
				}
			})
		}
		for _, s := range users {
			wg.Go(func() {
				dir, err := s.Layer(t.Context(), id, full, tree.Diff(nil, full), c.open)
				if err != nil {
					t.Error(err)
					return
				}
				for range 20 {
					if b, err := os.ReadFile(dir + "/z"); string(b) != "zzzz" {
						t.Errorf("a layer that is in use: %q, %v", b, err)
					}
				}
				if _, err := s.OpenFile(id, "a/x"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, s := range users {
			s.Close()
		}
	}
	t.Logf("%d of 30 layers were removed before they were used", removed.Load())
}

func TestALayerIsMarkedOnceALease(t *testing.T) {
	var c contents
	full := c.parse(t, smallTree)
	id := full.Identity()
	store := tempDir(t)
	since := time.Now().Add(-time.Minute)
	told := int64(0)
	s := openWith(t, store, Options{Since: func() time.Time { return since }, Created: func(got tree.Digest, bytes int64) {
		if got != id || told != 0 {
			t.Errorf("told of %s", got)
		}
		told = bytes
	}})
	mustLayer(t, s, &c, nil, full)
	if l, err := Find(store, id); l.Bytes != told || told == 0 || err != nil {
		t.Errorf("told that it has %d bytes, of %d, %v", told, l.Bytes, err)
	}
	used := func() time.Time { return layersOf(t, store)[id].Used }
	setUsed(t, store, time.Now().Add(-time.Hour))
	c.opens = 0
	for range 3 {
		mustLayer(t, s, &c, nil, full)
	}
	first := used()
	if first.Before(since) || c.opens != 0 {
		t.Errorf("marked at %v, lease since %v; %d contents opened", first, since, c.opens)
	}
	if s.Has(id); !used().Equal(first) {
		t.Error("marked twice under one lease")
	}
	since = time.Now() // of a younger lease
	if s.Has(id); used().Before(since) {
		t.Errorf("under the next lease marked at %v, since %v", used(), since)
	}
	since = time.Now().Add(time.Hour) // the clock was set back
	if s.Has(id); !used().Equal(since) {
		t.Errorf("marked at %v, lease since %v", used(), since)
	}
	if e, err := statAt(s.layers.fd, layerName(id)+"/"+manifestFile); err != nil || e.atime < since.UnixNano() {
		t.Errorf("the lease does not cover it any more: %v", err)
	}
	if _, err := Find(store, tree.Digest{1}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestSweepTakesTheDeadOnly(t *testing.T) {
	var c contents
	full := c.parse(t, smallTree)
	store := tempDir(t)
	Sweep(store) // of nothing
	s := openStore(t, store)
	upper, err := s.NewUpper(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Dir(s.session.path)
	dead := filepath.Join(tmp, "DEAD")
	if err := errors.Join(os.MkdirAll(dead+"/1/fs/a", 0o700), os.WriteFile(dead+"/lock", nil, 0o600), os.WriteFile(dead+"/1/fs/a/b", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	Sweep(store)
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead are there: %v", err)
	}
	if _, err := os.Stat(upper.Dir); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 2 { // the session and the lock
		t.Errorf("there are %v, %v", left, err)
	}
}
