package cache_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

func isError(err, target error) bool { return errors.Is(err, target) }

func asError[E error](err error, target *E) bool { return errors.As(err, target) }

func TestOpenDiskReopens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "cache")
	a := openDisk(t, dir)
	d, err := cache.PutBlob(t.Context(), a, []byte("blob"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Put(t.Context(), testKey(1), []byte("record")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	b := openDisk(t, dir)
	if got, err := b.Get(t.Context(), testKey(1)); err != nil || string(got) != "record" {
		t.Errorf("Get: %q, %v", got, err)
	}
	if got, err := cache.ReadBlob(t.Context(), b, d, 10); err != nil || string(got) != "blob" {
		t.Errorf("ReadBlob: %q, %v", got, err)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("opening and reading changed the directory from\n%sto\n%s", before, after)
	}
	if runtime.GOOS != "windows" {
		if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
			t.Errorf("a new store has mode %v, want 0700", info.Mode().Perm())
		}
	}
}

func TestOpenDiskEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"lost+found", ".version-LEFTBYACRASH"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	openDisk(t, dir)
}

// A power cut while a store is begun leaves an empty version, and nothing else: it is begun again. With anything beside it the directory is
// somebody else's.
func TestOpenDiskEmptyVersion(t *testing.T) {
	dir := t.TempDir()
	version := filepath.Join(dir, "version")
	if err := os.WriteFile(version, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.OpenDisk(dir, cache.DiskOptions{Existing: true}); !errors.Is(err, cache.ErrNoCache) {
		t.Errorf("to be there already: %v", err)
	}
	openDisk(t, dir)
	if text, err := os.ReadFile(version); string(text) != "stagewright cache 1\n" {
		t.Errorf("version %q, %v", text, err)
	}
	other := t.TempDir()
	for _, name := range []string{"version", "zoo"} {
		if err := os.WriteFile(filepath.Join(other, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, other)
	if _, err := cache.OpenDisk(other, cache.DiskOptions{}); errors.Is(err, fs.ErrNotExist) || err == nil {
		t.Errorf("with a file beside it: %v", err)
	}
	if after := tree(t, other); after != before {
		t.Errorf("a foreign directory was changed from\n%sto\n%s", before, after)
	}
}

func TestOpenDiskForeign(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, filepath.Join(dir, "thesis.tex")} {
		before := tree(t, dir)
		_, err := cache.OpenDisk(name, cache.DiskOptions{})
		var foreign *cache.ForeignError
		if !errors.As(err, &foreign) || foreign.Dir != name || !strings.Contains(err.Error(), "empty or new") {
			t.Errorf("OpenDisk(%q): error %v, want a *ForeignError that says what to do", name, err)
		}
		if after := tree(t, dir); after != before {
			t.Errorf("a foreign directory was changed from\n%sto\n%s", before, after)
		}
	}
}

func TestOpenDiskVersion(t *testing.T) {
	dir := t.TempDir()
	openDisk(t, dir)
	for text, wantVersion := range map[string]bool{
		"stagewright cache 2\n":     true,
		"stagewright cache 1":       true,
		"stagewright cache 1\nmore": true,
		"":                          false,
		"1.0\n":                     false,
		strings.Repeat("x", 1<<20):  false,
	} {
		if err := os.WriteFile(filepath.Join(dir, "version"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := cache.OpenDisk(dir, cache.DiskOptions{})
		var version *cache.VersionError
		var foreign *cache.ForeignError
		if errors.As(err, &version) != wantVersion || errors.As(err, &foreign) == wantVersion {
			t.Errorf("version file %.30q: error %v", text, err)
		}
		if !strings.Contains(err.Error(), dir) {
			t.Errorf("error %q does not name the directory %s", err, dir)
		}
	}
}

func TestOpenDiskAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			s, err := cache.OpenDisk(dir, cache.DiskOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if err := s.Put(t.Context(), testKey(w), []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Whatever is wrong with a record's file, it is a miss, and can be put again.
func TestDamagedRecordIsMiss(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	name := recordFile(dir, testKey(1))
	put := func() []byte {
		t.Helper()
		if err := s.Put(t.Context(), testKey(1), []byte("the record")); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	miss := func(what string) {
		t.Helper()
		if got, err := s.Get(t.Context(), testKey(1)); !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("%s: %q, %v; want ErrNotFound", what, got, err)
		}
	}
	good := put()
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 0x10
		damage(t, name, string(bad))
		miss("a changed byte")
		damage(t, name, string(good[:i]))
		miss("cut short")
	}
	damage(t, name, string(good)+"x")
	miss("a byte more")

	// A good record, of another key.
	if err := s.Put(t.Context(), testKey(2), []byte("another record")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(recordFile(dir, testKey(2)), name); err != nil {
		t.Fatal(err)
	}
	miss("another key's record")

	put()
	if err := os.Truncate(name, 1<<40); err == nil { // sparse
		miss("a terabyte of zeros")
	}
	put()
	if got, err := s.Get(t.Context(), testKey(1)); err != nil || string(got) != "the record" {
		t.Errorf("control, undamaged: %q, %v", got, err)
	}
}

func TestDiskReadOnly(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("permission bits do not bind this user; TestDiskReadOnlyMount does it on Linux")
	}
	dir := t.TempDir()
	s := openDisk(t, dir)
	if err := s.Put(t.Context(), testKey(1), []byte("record")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	modes := map[string]fs.FileMode{dir: 0o500, dir + "/tmp": 0o500, dir + "/journal": 0o500, dir + "/lock": 0o400}
	for name, mode := range modes {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(name, 0o700) })
	}
	checkReadOnly(t, dir)
}

// checkReadOnly expects a store with testKey(1) that can be read, not written.
func checkReadOnly(t *testing.T, dir string) {
	t.Helper()
	before := tree(t, dir)
	s, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		t.Fatalf("opening a read-only store: %v", err)
	}
	if got, err := s.Get(t.Context(), testKey(1)); err != nil || string(got) != "record" {
		t.Errorf("Get: %q, %v", got, err)
	}
	if u, err := s.Usage(t.Context()); err != nil || u.Kinds[0].Entries != 1 {
		t.Errorf("Usage: %+v, %v; want one record", u, err)
	}
	if c, err := s.Collect(t.Context(), cache.Policy{All: true, DryRun: true}); err != nil || len(c.Removed) != 1 {
		t.Errorf("dry run: %+v, %v; want one record", c, err)
	}
	_, collectErr := s.Collect(t.Context(), cache.Policy{All: true})
	_, createErr := s.Create(t.Context())
	_, leaseErr := s.Lease(t.Context())
	for what, err := range map[string]error{
		"Put":     s.Put(t.Context(), testKey(1), []byte("new")),
		"Create":  createErr,
		"Collect": collectErr,
		"Lease":   leaseErr,
	} {
		var disk *cache.DiskError
		if !errors.As(err, &disk) || disk.Dir != dir || !strings.Contains(err.Error(), "may write") {
			t.Errorf("%s: error %v, want a *DiskError that says what to do", what, err)
		}
	}
	if after := tree(t, dir); after != before {
		t.Errorf("the directory changed from\n%sto\n%s", before, after)
	}
}

func TestDiskClosed(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	if err := s.Put(t.Context(), testKey(1), []byte("record")); err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context(), cache.Digest{}); err == nil {
		t.Error("a Writer open at Close could be committed")
	}
	if err := s.Put(t.Context(), testKey(2), nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Put: error %v, want fs.ErrClosed", err)
	}
	if _, err := s.Lease(t.Context()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Lease: error %v, want fs.ErrClosed", err)
	}
	if got, err := s.Get(t.Context(), testKey(1)); err != nil || string(got) != "record" {
		t.Errorf("Get: %q, %v", got, err)
	}
	wantEmpty(t, filepath.Join(dir, "tmp"))
}

// Somebody tidies the directory by hand while the store is open.
func TestDiskSurvivesTidying(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	for _, sub := range []string{"tmp", "records", "blobs", "leases"} {
		d, err := cache.PutBlob(t.Context(), s, []byte(sub))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), testKey(1), []byte(sub)); err != nil {
			t.Fatal(err)
		}
		l, err := s.Lease(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("closing a lease after %s is gone: %v", sub, err)
		}
		if _, err := cache.ReadBlob(t.Context(), s, d, 100); err != nil && !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("reading after %s is gone: %v", sub, err)
		}
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left in %s", e.Name(), dir)
	}
}

// A process that was killed as it made the store leaves a version without its name, which goes with the next writer.
func TestKilledFirstStart(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, ".version-X")
	if err := os.WriteFile(left, []byte("stagewright"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := openDisk(t, dir)
	if err := s.Put(t.Context(), testKey(1), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}
