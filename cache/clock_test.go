package cache

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// at makes a store's clock show a time.
func at(d *Disk, clock time.Time) { d.clock = func() time.Time { return clock } }

func mustCollect(t *testing.T, d *Disk, p Policy, want int) {
	t.Helper()
	c, err := d.Collect(t.Context(), p)
	if err != nil || len(c.Removed) != want {
		t.Errorf("%+v: removed %v, %v; want %d", p, c.Removed, err, want)
	}
}

// The clock is set back during a build: what it uses from then on is covered all the same.
func TestClockSetBack(t *testing.T) {
	d := openTest(t, t.TempDir())
	now := time.Now()
	for i := range 2 {
		if err := d.Put(t.Context(), numbered(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	at(d, now.Add(time.Hour))
	lease, err := d.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at(d, now.Add(-24*time.Hour))
	if _, err := d.Get(t.Context(), numbered(1)); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), numbered(2), nil); err != nil {
		t.Fatal(err)
	}
	at(d, now.Add(48*time.Hour))
	mustCollect(t, d, Policy{All: true}, 1) // record 0
	if err := lease.Close(); err != nil {
		t.Fatal(err)
	}
	mustCollect(t, d, Policy{All: true}, 2)
}

// The clock was ahead when something was used: until it gets there, that counts as used when a collector
// looks, and from then on it ages.
func TestStampsOfTheFuture(t *testing.T) {
	d := openTest(t, t.TempDir())
	now := time.Now()
	at(d, now.Add(10*365*24*time.Hour))
	if err := d.Put(t.Context(), numbered(1), nil); err != nil {
		t.Fatal(err)
	}
	at(d, now)
	old := Policy{MaxAge: 24 * time.Hour}
	mustCollect(t, d, old, 0)
	mustCollect(t, d, Policy{All: true}, 0) // used just now; its stamp is set right, to an hour from now
	at(d, now.Add(2*time.Hour))
	mustCollect(t, d, old, 0)
	at(d, now.Add(26*time.Hour))
	mustCollect(t, d, old, 1)
}

// A lease that begins while a collector sets a stamp right, whose user has seen the stamp of the future and has left it, covers the entry.
func TestLeaseOnAStampOfTheFuture(t *testing.T) {
	d := openTest(t, t.TempDir())
	now := time.Now()
	at(d, now.Add(365*24*time.Hour))
	if err := d.Put(t.Context(), numbered(1), nil); err != nil {
		t.Fatal(err)
	}
	at(d, now.Add(time.Second))
	lease, err := d.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Get(t.Context(), numbered(1)); err != nil {
		t.Fatal(err)
	}
	at(d, now) // a collector that began just before
	mustCollect(t, d, Policy{MaxAge: time.Hour}, 0)
	at(d, now.Add(90*time.Minute))
	mustCollect(t, d, Policy{All: true}, 0)
	if err := lease.Close(); err != nil {
		t.Fatal(err)
	}
	mustCollect(t, d, Policy{All: true}, 1)
}

// The hour of a stamp is found for any stamp that a file can have.
func TestOddStamps(t *testing.T) {
	for _, stamp := range []time.Time{time.Unix(0, 0), time.Unix(-1000, 0), time.Unix(math.MaxInt32, 0)} {
		d := openTest(t, t.TempDir())
		if err := d.Put(t.Context(), numbered(1), nil); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(d.recordPath(numbered(1)), stamp, stamp); err != nil {
			t.Skip(err)
		}
		at(d, time.Unix(math.MaxInt32, 0).Add(time.Hour))
		mustCollect(t, d, Policy{All: true, DryRun: true}, 1)
		mustCollect(t, d, Policy{All: true}, 1)
	}
}

// What is in the directories and is no entry stays where it is.
func TestCollectLeavesStrangers(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir)
	if err := d.Put(t.Context(), numbered(1), nil); err != nil {
		t.Fatal(err)
	}
	hex := numbered(2).Hex()
	names := []string{"records/README", "records/ab/short", "records/zz/" + hex, "blobs/sha256/ab/" + hex + ".part", "blobs/sha1/x", "private/x/y", "journal/notes"}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	other := "00" // of another prefix than the name has
	if hex[:2] == other {
		other = "11"
	}
	misplaced := filepath.Join(dir, "records", other, hex)
	directory := d.recordPath(numbered(3))
	if err := errors.Join(os.MkdirAll(filepath.Dir(misplaced), 0o700), os.WriteFile(misplaced, nil, 0o600), os.MkdirAll(directory, 0o700)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := d.Usage(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Collect(t.Context(), Policy{All: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range append(names, "records/"+other+"/"+hex) {
		if _, err := os.Lstat(filepath.Join(dir, path)); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Get(t.Context(), numbered(1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("the record: %v, want it gone", err)
	}
}
