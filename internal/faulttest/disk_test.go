//go:build linux

package faulttest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is what is wrong with the disk that a child's cache lies on, and Until which of its builds. Mounts are in a namespace of the child's own.
type disk struct {
	Bytes    int64  // the cache lies on a tmpfs of this size
	Inodes   int64  // with at most so many files
	FileSize uint64 // no file can be longer
	ReadOnly bool
	Until    int
}

// spoil makes it so.
func (d *disk) spoil(dir string) error {
	switch {
	case d.Bytes > 0:
		return errors.Join(os.MkdirAll(dir, 0o700), unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("mode=700,size=%d,nr_inodes=%d", d.Bytes, d.Inodes)))
	case d.FileSize > 0:
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: d.FileSize, Max: unix.RLIM_INFINITY})
	case d.ReadOnly:
		return errors.Join(unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""), unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	}
	return nil
}

// mend makes room again.
func (d *disk) mend(dir string) error {
	switch {
	case d.Bytes > 0:
		return unix.Mount("", dir, "", unix.MS_REMOUNT, "size=0,nr_inodes=0")
	case d.FileSize > 0:
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	case d.ReadOnly:
		return unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, "")
	}
	return nil
}

// spoiled has a child build with a broken disk and, once it is good again, the same and all variants. It returns what the builds on the broken disk said.
func (w *world) spoiled(t *testing.T, g string, d disk, cache string) (during []answer) {
	t.Helper()
	o := &order{World: w, Cache: cache, Disk: &d, Builds: []wanted{{g, 0}, {g, 1}, {g, 0}, {g, 1}}}
	d.Until = 2
	got, err := o.run(t)
	if len(got) != len(o.Builds) {
		t.Fatalf("%s, %+v: it did not get to the end: %v %+v", g, d, err, got)
	}
	for i, a := range got {
		golden := w.goldenOf(t, a.wanted)
		switch {
		case a.Err == "" && a.Digest != golden:
			t.Errorf("%s, %+v, build %d: WRONG IMAGE %s; golden %s", a.wanted, d, i, a.Digest, golden)
		case a.Err != "" && i >= d.Until:
			t.Errorf("%s, %+v, after there is room again: %s", a.wanted, d, a.Err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "goroutine ") {
		t.Errorf("%s, %+v: %v", g, d, err)
	}
	w.wantNoProcess(t)
	return got[:d.Until]
}

// count adds what builds said of a full disk.
func (c verdicts) count(t *testing.T, d disk, got []answer, words ...string) {
	for _, a := range got {
		if a.Err == "" {
			c["built"]++
			continue
		}
		c["said so"]++
		clear := false
		for _, word := range words {
			clear = clear || strings.Contains(strings.ToLower(a.Err), word)
		}
		if !clear {
			t.Errorf("%s, %+v: the error does not say why: %s", a.wanted, d, a.Err)
		}
	}
}

type verdicts map[string]int

// The disk of the cache is full, after every so many bytes or files: a build says so or works all the same, and with room again everything is
// as it should be.
func testDiskFull(t *testing.T, w *world) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root; FileTooLarge does the like without")
	}
	began, said := time.Now(), verdicts{}
	one := func(g string, bytes, inodes int64) bool {
		d := disk{Bytes: bytes, Inodes: inodes}
		said.count(t, d, w.spoiled(t, g, d, w.in("small")), "no space left", "disk full", "file too large")
		return !t.Failed()
	}
	const page = 4096
	if *soak {
		for _, g := range w.shuffled() {
			for n := int64(1); n < 40<<20/page && one(g, n*page, 1<<20); n += 1 + n/40 {
			}
			for n := int64(2); n < 400 && one(g, 1<<30, n); n += 1 + n/40 {
			}
			t.Logf("%s: %v in %v", g, said, time.Since(began).Round(time.Second))
		}
	}
	names := w.graphs()
	for i := 0; !*soak && budget(t, began, i); i++ {
		r := chance(1 + i)
		g := names[r.IntN(len(names))]
		if r.IntN(3) == 0 {
			one(g, 1<<30, 2+r.Int64N(200))
		} else {
			one(g, page*(1+int64(r.ExpFloat64()*1000)), 1<<20)
		}
	}
	t.Logf("%v in %v", said, time.Since(began).Round(time.Second))
}

// No file can grow beyond a length, which an ordinary user can have, too.
func testFileTooLarge(t *testing.T, w *world) {
	began, said := time.Now(), verdicts{}
	names := w.graphs()
	for i := 0; budget(t, began, i); i++ {
		r := chance(1 + i)
		size := uint64(1) << r.IntN(24)
		size += r.Uint64N(size)
		g := names[r.IntN(len(names))]
		if *soak {
			if i == 100*len(names) {
				break
			}
			g = names[i%len(names)]
		}
		cache := w.in(fmt.Sprintf("limited-%d", i))
		d := disk{FileSize: size}
		said.count(t, d, w.spoiled(t, g, d, cache), "file too large", "signal", "exit")
		if err := os.RemoveAll(cache); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%v in %v", said, time.Since(began).Round(time.Second))
}

// A cache that cannot be written serves what it has.
func testReadOnlyCache(t *testing.T, w *world) {
	if os.Geteuid() != 0 {
		t.Skip("a read-only mount needs root")
	}
	r := chance(0)
	for _, g := range w.graphs() {
		cache := w.in("cache-" + g)
		o := &order{World: w, Cache: cache, Builds: []wanted{{g, 0}, {g, 1}}}
		got, err := o.run(t)
		w.want(t, o, got, err)
		for _, a := range w.spoiled(t, g, disk{ReadOnly: true}, cache) {
			if a.Err != "" || a.Ran != 0 {
				t.Errorf("%s is in a cache that cannot be written, and %d steps ran: %s", a.wanted, a.Ran, a.Err)
			}
		}
		evict(t, cache, r, "records", 0.5)
		said := verdicts{}
		d := disk{ReadOnly: true}
		said.count(t, d, w.spoiled(t, g, d, cache), "read-only file system")
		t.Logf("%s without half of its records: %v", g, said)
	}
}

// The clock was set back: everything in the cache, and in the context, is of the future.
func testClockSetBack(t *testing.T, w *world) {
	r := chance(0)
	cache := w.in("cache")
	t.Cleanup(func() { age(t, r, filepath.Join(w.Files, "context"), -time.Hour) })
	o := &order{World: w, Cache: cache}
	for _, g := range w.graphs() {
		o.Builds = append(o.Builds, wanted{g, 0}, wanted{g, 1})
	}
	got, err := o.run(t)
	w.want(t, o, got, err)
	for _, ahead := range []time.Duration{time.Minute, 24 * time.Hour, 20 * 365 * 24 * time.Hour} {
		age(t, r, cache, ahead)
		age(t, r, filepath.Join(w.Files, "context"), ahead)
		got, err := o.run(t)
		w.want(t, o, got, err)
		evict(t, cache, r, "records", 0.3)
		got, err = o.run(t)
		w.want(t, o, got, err)
		w.wantNoProcess(t)
		w.wantTidy(t, cache)
	}
}

// age gives most files below a directory times that lie ahead of now.
func age(t *testing.T, r *rand.Rand, dir string, ahead time.Duration) {
	t.Helper()
	at := time.Now().Add(ahead)
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || r.IntN(4) == 0 || e.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(p, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}
