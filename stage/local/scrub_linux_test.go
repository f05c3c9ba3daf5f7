package local_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// flip changes one byte in the middle of a file, and gives it its times back: what a seal cannot see.
func flip(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(name, info.Mode()), os.Chtimes(name, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
}

// What is damaged on the disk is found, named and removed, each kind of it, and the next build
// gives the same image; a whole cache has nothing.
func TestVerifyCache(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	s := base.Run("echo of a run > /ran; mkdir /d; echo more > /d/f; echo kept > /c/f", stage.CacheMount("/c")).File("/f", "x").Run("cat /f /ran > /both")
	open := func() (*cache.Disk, *local.Executor) {
		disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := local.New(local.Options{Store: disk})
		if err != nil {
			t.Fatal(err)
		}
		return disk, e
	}
	built := func() string {
		disk, e := open()
		defer disk.Close()
		defer e.Close()
		res, err := e.Execute(t.Context(), compile(t, s), stage.Request{})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		return digest(t, res)
	}
	verified := func() *cache.Scrubbing {
		disk, e := open()
		defer disk.Close()
		defer e.Close()
		found, err := local.Verify(t.Context(), disk)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	want := built()
	found := verified()
	if len(found.Damaged) != 0 || len(found.Kinds) != 3 {
		t.Fatalf("a whole cache: %+v", found)
	}
	unread := map[cache.Kind]bool{}
	for _, k := range found.Unread {
		unread[k.Kind] = k.Entries > 0 && k.Bytes > 0 && k.Later == k.Entries
	}
	if !unread[local.KindMount] || len(unread) != 1 {
		t.Errorf("not read: %+v, want what the cache mount is", found.Unread)
	}
	for _, k := range found.Kinds {
		if k.Entries == 0 || k.Bytes == 0 {
			t.Errorf("%s: %d entries with %d bytes were read", k.Kind, k.Entries, k.Bytes)
		}
		if k.Kind == local.KindSnapshot && k.Entries-k.Later < 2 {
			t.Errorf("of %d directories %d could not be compared, want those of the two Run steps to be", k.Entries, k.Later)
		}
	}
	if got := built(); got != want {
		t.Errorf("after it the build gives %s, want %s", got, want)
	}

	first := func(pattern string) string {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, %v", pattern, names, err)
		}
		return names[0]
	}
	for kind, pattern := range map[cache.Kind]string{
		cache.KindRecord:   "records/*/*",
		cache.KindBlob:     "blobs/sha256/*/*",
		local.KindSnapshot: "private/snapshots/*/layers/*/fs/ran",
	} {
		name := first(pattern)
		flip(t, name)
		found := verified()
		if len(found.Damaged) != 1 || found.Damaged[0].Kind != kind || !found.Damaged[0].Removed || !strings.Contains(name, found.Damaged[0].ID) {
			t.Errorf("%s: %q, want one for %s", kind, found.Damaged, name)
		}
		if found := verified(); len(found.Damaged) != 0 {
			t.Errorf("%s: damaged still: %q", kind, found.Damaged)
		}
		if got := built(); got != want {
			t.Errorf("%s: the build gives %s, want %s", kind, got, want)
		}
	}
	// A directory that no record tells of is left to who uses it next.
	name := first("private/snapshots/*/layers/*/fs/bin/*")
	flip(t, name)
	if found := verified(); len(found.Damaged) > 0 {
		t.Logf("found: %q", found.Damaged)
	}
	if got := built(); got != want {
		t.Errorf("the build gives %s, want %s", got, want)
	}
	if _, err := local.Verify(t.Context(), cache.NewMemory()); !errors.Is(err, stage.ErrUnsupported) {
		t.Errorf("a cache in memory: %v", err)
	}
	if _, err := os.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
