package source

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stagewright/stagewright/internal/keep"
)

// A mirror is not removed while somebody may read it, and one that was is fetched again.
func TestGitMirrorIsHeld(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no flock")
	}
	s := serveGit(t)
	commit := s.repo("r", "f x 1")
	w := newWorld(t)
	later := time.Now().Add(time.Hour)
	remove := func(want error) {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(w.dir, "mirrors", "*", "HEAD"))
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		if _, err := keep.RemoveDir(t.Context(), filepath.Dir(all[0]), t.TempDir(), later); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	for range 2 {
		g := w.git(t, GitTree{Remote: s.url("r"), Ref: commit})
		list := mustList(t, g)
		var files []*Entry
		for i := range list {
			files = append(files, &list[i])
		}
		if err := g.Hash(t.Context(), files); err != nil { // as every build does
			t.Fatal(err)
		}
		remove(keep.ErrInUse)
		rc, err := g.Open("x")
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(rc)
		if err := errors.Join(err, rc.Close()); err != nil || string(data) != "1" {
			t.Errorf("got %q, %v", data, err)
		}
		remove(keep.ErrInUse)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		remove(nil)
	}
	if s.packs.Load() != 2 {
		t.Errorf("fetched %d times", s.packs.Load())
	}
	if _, err := os.Stat(filepath.Join(w.dir, "checkouts")); err != nil {
		t.Error(err)
	}
}

// Checkouts are where temporary files are, if the caller says where that is.
func TestGitCheckoutIsTemporary(t *testing.T) {
	s := serveGit(t)
	s.repo("r", "f x 1")
	w, temporary := newWorld(t), filepath.Join(t.TempDir(), "git")
	g, err := Git(GitTree{Remote: s.url("r")}, GitOptions{Dir: w.dir, Store: w.store, Temporary: temporary})
	if err != nil {
		t.Fatal(err)
	}
	list := mustList(t, g)
	if err := g.Hash(t.Context(), []*Entry{&list[0]}); err != nil {
		t.Fatal(err)
	}
	rc, err := g.Open("x")
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
	if made, err := os.ReadDir(temporary); len(made) != 1 || err != nil {
		t.Errorf("there are %v, %v", made, err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(temporary); len(left) != 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "checkouts")); err == nil {
		t.Error("there is a checkout in Dir")
	}
}
