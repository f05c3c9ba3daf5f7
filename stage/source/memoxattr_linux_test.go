package source

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// lookAgain is a look at dir as another process would take it, all digests included.
func lookAgain(t *testing.T, dir, folder string) ([]Entry, Stats) {
	t.Helper()
	d := mustDir(t, dir, DirOptions{Memo: OpenMemo(folder), Xattrs: true})
	entries := mustList(t, d)
	if err := d.Hash(t.Context(), pointers(entries)); err != nil {
		t.Fatal(err)
	}
	return entries, d.Stats()
}

func setXattr(t *testing.T, path, value string) {
	t.Helper()
	if err := unix.Lsetxattr(path, "user.test", []byte(value), 0); err != nil {
		t.Skip("no extended attributes here:", err)
	}
}

// bareMemo is a directory whose files are known to have no extended attributes.
func bareMemo(t *testing.T, lines string) (dir, folder string) {
	t.Helper()
	dir, folder = t.TempDir(), t.TempDir()
	plant(t, dir, lines)
	r, err := openBeneath(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var self Entry
	if err := r.lstat("", &self); err != nil {
		t.Fatal(err)
	}
	if !r.stampsXattrs(self.id.dev) {
		t.Skip("this filesystem is not one that is known to stamp files whose extended attributes change")
	}
	age(t, mustDir(t, dir, DirOptions{}))
	if _, s := lookAgain(t, dir, folder); s.Xattrs != s.Stats {
		t.Fatalf("the first look: %+v", s)
	}
	return dir, folder
}

func TestMemoKnowsFilesWithoutXattrs(t *testing.T) {
	dir, folder := bareMemo(t, "f a one\nf b/c two\nf b/d three")
	if _, s := lookAgain(t, dir, folder); s.Xattrs != 1 || s.Opened != 0 { // the directory
		t.Fatalf("%+v", s)
	}
	path := filepath.Join(dir, "b", "c")
	setXattr(t, path, "1")
	for range 2 { // what a file has is read each time
		entries, s := lookAgain(t, dir, folder)
		if x := entries[2].Xattrs; s.Xattrs != 2 || len(x) != 1 || string(x[0].Value) != "1" {
			t.Errorf("%+v, %+v", s, entries[2])
		}
	}
	if err := unix.Lremovexattr(path, "user.test"); err != nil {
		t.Fatal(err)
	}
	age(t, mustDir(t, dir, DirOptions{}))
	if entries, s := lookAgain(t, dir, folder); s.Xattrs != 2 || entries[2].Xattrs != nil {
		t.Errorf("after the removal: %+v, %+v", s, entries[2])
	}
	if _, s := lookAgain(t, dir, folder); s.Xattrs != 1 {
		t.Errorf("the removal is not remembered: %+v", s)
	}
}

// TestMemoLearnsFilesWithoutXattrs: a memo of looks that did not ask learns from the first that does.
func TestMemoLearnsFilesWithoutXattrs(t *testing.T) {
	dir, _ := bareMemo(t, "f a one\nf b two")
	fresh := t.TempDir()
	rehash(t, dir, fresh)
	for n, want := range []int64{2, 0} {
		if _, s := lookAgain(t, dir, fresh); s.Xattrs != want || s.Opened != 0 {
			t.Errorf("look %d: %+v", n, s)
		}
	}
}

// TestMemoXattrRacyWindow sets an attribute right after each look, often within one tick of the kernel's clock.
func TestMemoXattrRacyWindow(t *testing.T) {
	dir, folder := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "a")
	for n := range 40 {
		if err := os.WriteFile(path, []byte{byte(n)}, 0o644); err != nil {
			t.Fatal(err)
		}
		if entries, _ := lookAgain(t, dir, folder); entries[0].Xattrs != nil {
			t.Fatal("an attribute of before")
		}
		setXattr(t, path, "1")
		if entries, _ := lookAgain(t, dir, folder); len(entries[0].Xattrs) != 1 {
			t.Fatal("an attribute that was set after a look was not seen")
		}
		if err := unix.Lremovexattr(path, "user.test"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestXattrsWithoutListxattrat takes the way of kernels before 6.13.
func TestXattrsWithoutListxattrat(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a one")
	setXattr(t, filepath.Join(dir, "a"), "1")
	d := mustDir(t, dir, DirOptions{Xattrs: true})
	d.open = func(p string) (beneath, error) {
		r, err := openBeneath(p)
		if err == nil {
			r.(*linuxRoot).noListAt.Store(true)
		}
		return r, err
	}
	if x := mustList(t, d)[0].Xattrs; len(x) != 1 || string(x[0].Value) != "1" {
		t.Errorf("%+v", x)
	}
}
