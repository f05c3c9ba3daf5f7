package cache_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/cachetest"
)

func TestMemory(t *testing.T) {
	cachetest.Test(t, func(t *testing.T) cache.Store { return cache.NewMemory() })
}

func TestMemoryZeroValue(t *testing.T) {
	cachetest.Test(t, func(t *testing.T) cache.Store { return new(cache.Memory) })
}

func TestDisk(t *testing.T) {
	cachetest.Test(t, func(t *testing.T) cache.Store { return openDisk(t, t.TempDir()) })
}

func TestDiskNoSync(t *testing.T) {
	cachetest.Test(t, func(t *testing.T) cache.Store {
		d, err := cache.OpenDisk(t.TempDir(), cache.DiskOptions{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// bare is a store with the four methods and no more, so that the suite takes
// the path of every package function that has an optional interface behind it.
type bare struct{ cache.Store }

func TestBareStore(t *testing.T) {
	cachetest.Test(t, func(t *testing.T) cache.Store { return bare{cache.NewMemory()} })

	if dir, ok := cache.Dir(bare{}); ok {
		t.Errorf("a bare store has the directory %q", dir)
	}
	l, err := cache.Lease(t.Context(), bare{})
	if err != nil || l.Close() != nil {
		t.Errorf("lease of a bare store: %v", err)
	}
}

// A verifying reader makes the store forget what it found damaged, and tells
// one that cannot forget from one that can only by that.
func TestDamagedBlobBecomesMiss(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	d, err := cache.PutBlob(t.Context(), s, []byte("as stored"))
	if err != nil {
		t.Fatal(err)
	}
	damage(t, blobFile(dir, d), "as sTored")
	_, err = cache.ReadBlob(t.Context(), s, d, 100)
	var corrupt *cache.CorruptError
	if !asError(err, &corrupt) {
		t.Fatalf("damaged blob: error %v, want a *CorruptError", err)
	}
	for _, part := range []string{d.String(), "damaged", "made again"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if _, err = cache.ReadBlob(t.Context(), s, d, 100); !isError(err, cache.ErrNotFound) {
		t.Errorf("second read: error %v, want ErrNotFound", err)
	}
	if _, err = cache.PutBlob(t.Context(), s, []byte("as stored")); err != nil {
		t.Fatal(err)
	}
	if got, err := cache.ReadBlob(t.Context(), s, d, 100); err != nil || string(got) != "as stored" {
		t.Errorf("after making it again: %q, %v", got, err)
	}
}

// A commit over a damaged blob of the same digest heals it, unread.
func TestCommitHealsDamage(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	d, _ := cache.PutBlob(t.Context(), s, []byte("as stored"))
	damage(t, blobFile(dir, d), "")
	if _, err := cache.PutBlob(t.Context(), s, []byte("as stored")); err != nil {
		t.Fatal(err)
	}
	if got, err := cache.ReadBlob(t.Context(), s, d, 100); err != nil || string(got) != "as stored" {
		t.Errorf("%q, %v", got, err)
	}
}

// damage replaces a file's bytes as a bad disk would: same name, same inode.
func damage(t *testing.T, name, text string) {
	t.Helper()
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func blobFile(dir string, d cache.Digest) string {
	return dir + "/blobs/sha256/" + d.Hex()[:2] + "/" + d.Hex()
}

func recordFile(dir string, k cache.Key) string {
	return dir + "/records/" + k.Hex()[:2] + "/" + k.Hex()
}

func openDisk(t testing.TB, dir string) *cache.Disk {
	t.Helper()
	d, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

func testKey(n int) cache.Key { return cache.NewKey("test", 1).Int("n", int64(n)).Sum() }

// tree lists every file below dir with its mode.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		b.WriteString(info.Mode().String() + " " + name + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
