package source

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// offline is git for a machine without network.
func (w world) offline(t testing.TB, tree GitTree) *GitFiles {
	t.Helper()
	g, err := Git(tree, GitOptions{Dir: w.dir, Store: w.store, Env: []string{"PATH=" + os.Getenv("PATH")}, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// A ref is what it was, whatever names it, and its files are there.
func TestGitOffline(t *testing.T) {
	s := serveGit(t)
	commit := s.repo("tools", tools)
	s.run("tools", "tag", "-a", "-m", "x", "v1")
	w := newWorld(t)
	refs := []string{"", "main", "v1", commit, commit[:10]}
	for _, ref := range refs {
		g := w.git(t, GitTree{Remote: s.url("tools"), Ref: ref})
		mustHash(t, g)
	}
	s.commit("tools", "f new.txt new")
	remote := s.url("tools")
	s.Close()
	for _, ref := range refs {
		for _, keep := range []bool{false, true} {
			g := w.offline(t, GitTree{Remote: remote, Ref: ref, Checksum: commit, KeepGit: keep})
			mustList(t, g)
			if mustHash(t, g)["docs/a.txt"] != digestOf("A") || content(t, g, "docs/a.txt") != "A" || g.Commit() != commit {
				t.Errorf("%q: commit %s, want %s", ref, g.Commit(), commit)
			}
		}
	}
	for name, g := range map[string]*GitFiles{
		"another ref":    w.offline(t, GitTree{Remote: remote, Ref: "other"}),
		"another commit": w.offline(t, GitTree{Remote: remote, Ref: strings.Repeat("a", 40)}),
		"another cache":  newWorld(t).offline(t, GitTree{Remote: remote, Ref: "main"}),
		"no mirrors":     world{t.TempDir(), cache.NewMemory()}.offline(t, GitTree{Remote: remote, Ref: commit}),
	} {
		if _, err := g.List(t.Context()); !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), remote) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var sum *ChecksumError
	if _, err := w.offline(t, GitTree{Remote: remote, Ref: "main", Checksum: "0123456"}).List(t.Context()); !errors.As(err, &sum) {
		t.Errorf("another checksum: %v", err)
	}
}

func TestHTTPOffline(t *testing.T) {
	s := serve(t, &fileServer{body: "hello", etag: `"1"`})
	store := cache.NewMemory()
	o := s.options(store)
	o.Offline = true
	for _, sum := range []string{"", digestOf("hello").String()} {
		if _, err := mustHTTP(t, s.URL+"/f", sum, o).List(t.Context()); !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), s.URL+"/f") {
			t.Errorf("nothing is in the store: %v", err)
		}
		mustList(t, mustHTTP(t, s.URL+"/f", sum, s.options(store)))
	}
	s.gets.Store(0)
	s.body, s.etag = "changed", `"2"`
	for _, sum := range []string{"", digestOf("hello").String()} {
		h := mustHTTP(t, s.URL+"/f", sum, o)
		mustList(t, h)
		if got := content(t, h, "f"); got != "hello" {
			t.Errorf("content %q", got)
		}
	}
	if n := s.gets.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}
