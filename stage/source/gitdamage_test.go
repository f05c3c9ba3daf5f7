package source

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// A mirror is there to save time: whichever of its files is damaged, what it had is fetched again and the files are the same.
func TestGitDamagedMirror(t *testing.T) {
	s := serveGit(t)
	s.repo("r", "f v one\nf d/w two")
	for name, harm := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"empty":   func([]byte) []byte { return nil },
		"flipped": func(b []byte) []byte { b[len(b)/2] ^= 0x20; return b },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			mustHash(t, w.git(t, GitTree{Remote: s.url("r"), Ref: "main"}))
			var files []string
			err := filepath.WalkDir(filepath.Join(w.dir, "mirrors"), func(p string, e fs.DirEntry, err error) error {
				if err == nil && e.Type().IsRegular() {
					files = append(files, p)
				}
				return err
			})
			if err != nil || len(files) < 6 {
				t.Fatalf("%d files, %v", len(files), err)
			}
			for _, p := range files {
				good, err := os.ReadFile(p)
				if err != nil || len(good) == 0 {
					continue // gone with an earlier mirror, or a lock
				}
				if err := os.Chmod(p, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(p, harm(good), 0o600); err != nil {
					t.Fatal(err)
				}
				w.store = cache.NewMemory() // which knows nothing of the commit: the mirror is looked at
				g := w.git(t, GitTree{Remote: s.url("r"), Ref: "main"})
				if _, err := g.List(t.Context()); err != nil {
					t.Errorf("%s: %v", filepath.Base(p), err)
					continue
				}
				if a, b := content(t, g, "v"), content(t, g, "d/w"); a != "one" || b != "two" {
					t.Errorf("%s: %q, %q", filepath.Base(p), a, b)
				}
			}
		})
	}
}

// A fetch that is cut short, by a full disk for instance, can leave the object of a commit without its files: that is not the commit.
func TestGitHalfFetched(t *testing.T) {
	s := serveGit(t)
	commit := s.repo("r", "f v one")
	w := newWorld(t)
	mustHash(t, w.git(t, GitTree{Remote: s.url("r"), Ref: "main"}))
	mirrors, err := filepath.Glob(filepath.Join(w.dir, "mirrors", "*", "HEAD"))
	if err != nil || len(mirrors) != 1 {
		t.Fatal(mirrors, err)
	}
	mirror := filepath.Dir(mirrors[0])
	tree := s.run("r", "rev-parse", "HEAD^{tree}")
	for _, name := range []string{"objects/" + tree[:2] + "/" + tree[2:], keepRef(commit), "shallow"} {
		if err := os.Remove(filepath.Join(mirror, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.store = cache.NewMemory()
	g := w.git(t, GitTree{Remote: s.url("r"), Ref: "main"})
	if _, err := g.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := content(t, g, "v"); got != "one" {
		t.Errorf("%q", got)
	}
}

// A git that is killed leaves the locks that it had taken, and no git that comes later writes past them.
func TestGitKilledWithLocks(t *testing.T) {
	s := serveGit(t)
	s.repo("r", "f v one")
	w := newWorld(t)
	mustHash(t, w.git(t, GitTree{Remote: s.url("r"), Ref: "main"}))
	mirrors, err := filepath.Glob(filepath.Join(w.dir, "mirrors", "*", "HEAD"))
	if err != nil || len(mirrors) != 1 {
		t.Fatal(mirrors, err)
	}
	commit := s.commit("r", "f v two")
	for _, name := range []string{"HEAD", "config", "packed-refs", "shallow", keepRef(commit)} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(mirrors[0]), name+".lock"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := w.git(t, GitTree{Remote: s.url("r"), Ref: "main"})
	if _, err := g.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := content(t, g, "v"); v != "two" {
		t.Errorf("it is %q", v)
	}
}
