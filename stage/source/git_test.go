package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// gitServer serves repositories over http with git's own server program, and counts
// what is asked.
type gitServer struct {
	*httptest.Server
	t   testing.TB
	dir string

	asks, packs atomic.Int64 // for the refs, and for objects
}

func serveGit(t testing.TB) *gitServer {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Skipf("the program git is not installed: %v", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skipf("git's server program is not installed: %v", err)
	}
	s := &gitServer{t: t, dir: t.TempDir()}
	h := &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + s.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost { // protocol v2 says in the body what is asked
			body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			if bytes.Contains(body, []byte("command=fetch")) {
				s.packs.Add(1)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		} else {
			s.asks.Add(1)
		}
		if p := r.Header.Get("Git-Protocol"); p != "" {
			h := *h
			h.Env = append(h.Env[:len(h.Env):len(h.Env)], "GIT_PROTOCOL="+p)
			h.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// run runs git in a directory below the server's.
func (s *gitServer) run(repo string, args ...string) string {
	s.t.Helper()
	return s.feed(repo, "", args...)
}

// feed runs git with something to read.
func (s *gitServer) feed(repo, input string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = filepath.Join(s.dir, repo), strings.NewReader(input)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ALLOW_PROTOCOL=http:file",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "GIT_AUTHOR_DATE=1500000000 +0000", "GIT_COMMITTER_DATE=1500000000 +0000"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repo makes a repository with a work tree and one commit of the files (see plant).
func (s *gitServer) repo(name, lines string) (commit string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, name), 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.run(name, "init", "-q", "-b", "main", "--template=")
	return s.commit(name, lines)
}

func (s *gitServer) commit(name, lines string) string {
	s.t.Helper()
	plant(s.t, filepath.Join(s.dir, name), lines)
	s.run(name, "add", "-A")
	s.run(name, "commit", "-q", "--allow-empty", "-m", "x")
	return s.run(name, "rev-parse", "HEAD")
}

func (s *gitServer) url(name string) string { return s.URL + "/" + name + "/.git" }

// world is a cache directory with its store.
type world struct {
	dir   string
	store cache.Store
}

func newWorld(t testing.TB) world { return world{t.TempDir(), cache.NewMemory()} }

func (w world) git(t testing.TB, tree GitTree) *GitFiles {
	t.Helper()
	g, err := Git(tree, GitOptions{Dir: w.dir, Store: w.store, Env: []string{"PATH=" + os.Getenv("PATH")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

const tools = "f run.sh #!/bin/sh\nm run.sh 755\nf docs/a.txt A\nf docs/sub/b.txt B\nl docs/link ../run.sh\nf .gitattributes *.bat text eol=crlf\nf x.bat one\nf .gitignore secret"

func TestGitTree(t *testing.T) {
	s := serveGit(t)
	commit := s.repo("tools", tools)
	w := newWorld(t)
	g := w.git(t, GitTree{Remote: s.url("tools"), Submodules: true})
	var got []string
	for _, e := range mustList(t, g) {
		got = append(got, e.Path+" "+e.Mode.String())
		if e.UID != 0 || e.GID != 0 || e.Mtime != 0 {
			t.Errorf("%s: %+v has an owner or a time", e.Path, e)
		}
	}
	want := ".gitattributes -rw-r--r--, .gitignore -rw-r--r--, docs drwxr-xr-x, docs/a.txt -rw-r--r--, docs/link Lrwxrwxrwx, docs/sub drwxr-xr-x, docs/sub/b.txt -rw-r--r--, run.sh -rwxr-xr-x, x.bat -rw-r--r--"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	if g.Commit() != commit {
		t.Errorf("commit %s, want %s", g.Commit(), commit)
	}
	if mustHash(t, g)["docs/a.txt"] != digestOf("A") || content(t, g, "docs/a.txt") != "A" {
		t.Error("wrong content")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "checkouts", "*")); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	if v, err := g.Why("docs/b.txt"); err != nil || v.Exists {
		t.Errorf("%v, %v", v, err)
	}
}

func TestGitRefs(t *testing.T) {
	s := serveGit(t)
	first := s.repo("r", "f v one")
	s.run("r", "tag", "light")
	s.run("r", "tag", "-a", "-m", "m", "noted")
	note := s.run("r", "rev-parse", "noted")
	s.run("r", "branch", "dev")
	s.run("r", "branch", "both")
	second := s.commit("r", "f v two")
	s.run("r", "tag", "both")
	old := s.run("r", "rev-parse", "HEAD")
	s.run("r", "update-ref", "refs/pull/7/head", first)
	third := s.commit("r", "f v three")

	for _, c := range []struct{ ref, sum, commit, want string }{
		{"", "", third, "three"},
		{"main", third[:10], third, "three"},
		{"refs/heads/main", "", third, "three"},
		{"heads/main", "", third, "three"},
		{"dev", "", first, "one"},
		{"light", "", first, "one"},
		{"noted", first[:8], first, "one"},
		{"noted", note, first, "one"},
		{"refs/tags/noted", "", first, "one"},
		{"both", "", first, "one"}, // the branch, not the tag
		{"refs/tags/both", "", second, "two"},
		{"pull/7/head", "", first, "one"},
		{first, "", first, "one"},
		{old, strings.ToUpper(old[:12]), second, "two"},
		{second[:9], "", second, "two"},
	} {
		g := newWorld(t).git(t, GitTree{Remote: s.url("r"), Ref: c.ref, Checksum: c.sum})
		if _, err := g.List(t.Context()); err != nil {
			t.Errorf("%s: %v", c.ref, err)
			continue
		}
		if g.Commit() != c.commit || content(t, g, "v") != c.want {
			t.Errorf("%s: commit %s, %q; want %s, %q", c.ref, g.Commit(), content(t, g, "v"), c.commit, c.want)
		}
	}
	for _, c := range []struct{ ref, sum, want string }{
		{"nope", "", "no branch or tag"},
		{"deadbeef", "", "no single commit"},
		{strings.Repeat("a", 40), "", "git fetch"},
	} {
		_, err := newWorld(t).git(t, GitTree{Remote: s.url("r"), Ref: c.ref}).List(t.Context())
		var failed *GitError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v; want one with %q", c.ref, err, c.want)
		}
	}
	var sum *ChecksumError
	for _, ref := range []string{"main", third} {
		_, err := newWorld(t).git(t, GitTree{Remote: s.url("r"), Ref: ref, Checksum: first}).List(t.Context())
		if !errors.As(err, &sum) || sum.Want != first || sum.Got != third {
			t.Errorf("%s: error %v; want a ChecksumError", ref, err)
		}
	}
}

func TestGitAsksOnceForACommit(t *testing.T) {
	s := serveGit(t)
	commit := s.repo("r", "f v one")
	w := newWorld(t)
	for i := range 3 {
		g := w.git(t, GitTree{Remote: s.url("r"), Ref: commit})
		mustHash(t, g)
		if i == 1 && content(t, g, "v") != "one" {
			t.Error("wrong content")
		}
	}
	asks, packs := s.asks.Load(), s.packs.Load()
	if asks != 1 || packs != 1 {
		t.Errorf("%d requests for refs, %d for objects; want 1 of each", asks, packs)
	}
	for range 2 {
		mustHash(t, w.git(t, GitTree{Remote: s.url("r"), Ref: "main"}))
	}
	if n := s.packs.Load() - packs; n != 0 {
		t.Errorf("a branch at a known commit made %d requests for objects", n)
	}
	if n := s.asks.Load() - asks; n != 2 {
		t.Errorf("two builds of a branch asked %d times for its commit; want 2", n)
	}
	// A lost mirror is made again when the bytes are wanted.
	if err := os.RemoveAll(filepath.Join(w.dir, "mirrors")); err != nil {
		t.Fatal(err)
	}
	g := w.git(t, GitTree{Remote: s.url("r"), Ref: commit})
	mustHash(t, g)
	if content(t, g, "v") != "one" {
		t.Error("wrong content")
	}
}

func TestGitSubdirAndSubmodules(t *testing.T) {
	s := serveGit(t)
	s.repo("deep", "f deep.txt deep")
	s.repo("lib", "f lib.txt lib")
	s.run("lib", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", s.url("deep"), "nested")
	s.commit("lib", "")
	s.repo("top", "f a/x 1\nf b/y 2")
	s.run("top", "submodule", "--quiet", "add", s.url("lib"), "a/lib")
	// A relative url is one from the remote's.
	s.run("top", "config", "-f", ".gitmodules", "submodule.a/lib.url", "../../lib/.git")
	s.commit("top", "")

	for _, c := range []struct {
		tree GitTree
		want string
	}{
		{GitTree{Submodules: true}, ".gitmodules a a/lib a/lib/.gitmodules a/lib/lib.txt a/lib/nested a/lib/nested/deep.txt a/x b b/y"},
		{GitTree{}, ".gitmodules a a/lib a/x b b/y"},
		{GitTree{Subdir: "/a/", Submodules: true}, "lib lib/.gitmodules lib/lib.txt lib/nested lib/nested/deep.txt x"},
		{GitTree{Subdir: "a/lib/nested", Submodules: true}, "deep.txt"},
		{GitTree{Subdir: "b", Submodules: true}, "y"},
	} {
		c.tree.Remote = s.url("top")
		if got := paths(mustList(t, newWorld(t).git(t, c.tree))); got != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.tree, got, c.want)
		}
	}
	for _, sub := range []string{"none", "b/y", "a/lib/none"} {
		if _, err := newWorld(t).git(t, GitTree{Remote: s.url("top"), Subdir: sub, Submodules: true}).List(t.Context()); err == nil || !strings.Contains(err.Error(), "no directory") {
			t.Errorf("%s: error %v", sub, err)
		}
	}
	// The submodules of a subdirectory that has none are not asked for.
	w := newWorld(t)
	mustList(t, w.git(t, GitTree{Remote: s.url("top"), Subdir: "b", Submodules: true}))
	if all, _ := filepath.Glob(filepath.Join(w.dir, "mirrors", "*.lock")); len(all) != 1 {
		t.Errorf("%d remotes were asked; want 1", len(all))
	}
}

func TestGitHostileRepositories(t *testing.T) {
	s := serveGit(t)
	s.repo("r", "f x 1\nl out ../../../../etc\nd dir\nf dir/z 1")
	proof := filepath.Join(t.TempDir(), "proof")
	// A submodule whose url is a program, one that is a path of this machine, one that is an option.
	for i, url := range []string{"ext::sh -c touch% " + proof, "file://" + s.dir + "/r", s.dir + "/r", "--upload-pack=touch " + proof, "-u" + proof} {
		name := "evil" + string(rune('a'+i))
		first := s.repo(name, "f y 2")
		s.run(name, "update-index", "--add", "--cacheinfo", "160000,"+first+",sub")
		s.run(name, "config", "-f", ".gitmodules", "submodule.sub.path", "sub")
		s.run(name, "config", "-f", ".gitmodules", "submodule.sub.url", url)
		s.run(name, "add", ".gitmodules")
		s.run(name, "commit", "-q", "-m", "x")
		_, err := newWorld(t).git(t, GitTree{Remote: s.url(name), Submodules: true}).List(t.Context())
		if err == nil {
			t.Errorf("the submodule %q is taken", url)
		}
	}
	if _, err := os.Stat(proof); err == nil {
		t.Error("a program of the repository ran")
	}
	g := newWorld(t).git(t, GitTree{Remote: s.url("r")})
	mustHash(t, g)
	if _, err := g.Open("out/passwd"); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a link was followed: %v", err)
	}
	if _, err := newWorld(t).git(t, GitTree{Remote: s.url("r"), Subdir: "out"}).List(t.Context()); err == nil {
		t.Error("the subdirectory was reached through a link")
	}
	// Neither the hooks of this machine's templates nor its configuration count.
	home := t.TempDir()
	plant(t, home, "f .gitconfig x")
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[core]\n\tfsmonitor = touch "+proof+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("GIT_CONFIG_PARAMETERS", "'core.sshCommand=touch "+proof+"'")
	mustHash(t, newWorld(t).git(t, GitTree{Remote: s.url("r"), KeepGit: true}))
	if _, err := os.Stat(proof); err == nil {
		t.Error("the configuration of the user ran a program")
	}
}

// TestGitBomb: a repository of a few kilobytes whose files nobody could write.
func TestGitBomb(t *testing.T) {
	s := serveGit(t)
	s.repo("bomb", "f x 1")
	tree := s.run("bomb", "write-tree")
	for range 8 { // 12^8 directories
		var names strings.Builder
		for i := range 12 {
			fmt.Fprintf(&names, "040000 tree %s\t%c\n", tree, 'a'+i)
		}
		tree = s.feed("bomb", names.String(), "mktree")
	}
	s.run("bomb", "update-ref", "HEAD", s.run("bomb", "commit-tree", "-m", "x", tree))
	w := newWorld(t)
	var limit *LimitError
	if _, err := w.git(t, GitTree{Remote: s.url("bomb"), Submodules: true}).List(t.Context()); !errors.As(err, &limit) || limit.Limit != maxGitEntries {
		t.Errorf("error %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "checkouts", "*")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	l := gitListing{most: 10, weight: 1000}
	for i, part := range []string{"100644 blob 1 600\ta\x00100644 bl", "ob 2 300\tb\x00160000 commit 3 -\tsub\x00", "040000 tree 4 -\td\x00"} {
		if _, err := l.Write([]byte(part)); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if want := []gitlink{{"sub", "3"}}; l.entries != 4 || l.bytes != 900 || !slices.Equal(l.links, want) {
		t.Errorf("%d entries, %d bytes, %v", l.entries, l.bytes, l.links)
	}
	if _, err := l.Write([]byte("100644 blob 5 101\tc\x00")); !errors.As(err, &limit) || limit.Limit != 1000 {
		t.Errorf("too many bytes: %v", err)
	}
}

func TestGitKeep(t *testing.T) {
	s := serveGit(t)
	s.repo("r", "f x 1")
	s.run("r", "tag", "-a", "-m", "m", "v1.0")
	commit := s.run("r", "rev-parse", "HEAD")
	w := newWorld(t)
	remote := strings.Replace(s.url("r"), "http://", "http://user:secret@", 1)
	g := w.git(t, GitTree{Remote: remote, Ref: "v1.0", KeepGit: true})
	entries := mustList(t, g)
	mustHash(t, g)
	// What was listed is a repository.
	dir := t.TempDir()
	for _, e := range entries {
		p := filepath.Join(dir, filepath.FromSlash(e.Path))
		var err error
		if e.Mode.IsDir() {
			err = os.Mkdir(p, 0o755)
		} else {
			text := content(t, g, e.Path)
			if strings.Contains(text, "secret") || strings.Contains(text, w.dir) {
				t.Errorf("%s has the password or a path of this machine", e.Path)
			}
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "safe.directory=*"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := run("rev-parse", "HEAD"); got != commit {
		t.Errorf("HEAD is %s, want %s", got, commit)
	}
	if got := run("status", "--porcelain"); got != "" {
		t.Errorf("git status says %q", got)
	}
	if got := run("describe"); got != "v1.0" {
		t.Errorf("git describe says %q", got)
	}
	if strings.Contains(run("log", "--oneline"), "\n") {
		t.Error("more than one commit is there")
	}
}

func TestGitRefusesWords(t *testing.T) {
	w := newWorld(t)
	for _, c := range []GitTree{
		{Remote: ""}, {Remote: "--upload-pack=x"}, {Remote: "file:///etc"}, {Remote: "ext::sh"}, {Remote: "https://h/x.git", Ref: "--x"},
		{Remote: "https://h/x.git", Ref: "a:b"}, {Remote: "https://h/x.git", Checksum: "xyz"}, {Remote: "https://h/x.git", Subdir: ".git/hooks"},
	} {
		if _, err := Git(c, GitOptions{Dir: w.dir}); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	g, err := Git(GitTree{Remote: "https://user:secret@h/x.git"}, GitOptions{Dir: w.dir, Program: "no-such-git"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.List(t.Context()); !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "apt-get install git") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	s := serveGit(t)
	g = w.git(t, GitTree{Remote: strings.Replace(s.url("none"), "http://", "http://user:secret@", 1)})
	if _, err := g.List(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

func TestGitSubmoduleRemotes(t *testing.T) {
	for _, c := range []struct{ parent, url, want string }{
		{"https://h/a/b.git", "https://x/y.git", "https://x/y.git"},
		{"https://h/a/b.git", "../c.git", "https://h/a/c.git"},
		{"https://h/a/b.git/", "../c.git", "https://h/a/c.git"},
		{"https://h/a/b.git", "../../z/c.git", "https://h/z/c.git"},
		{"https://h/a/b.git", "./c", "https://h/a/b.git/c"},
		{"https://h/a/b.git", "../../../c", ""},
		{"git@h:a/b.git", "../c.git", "git@h:a/c.git"},
		{"git@h:a/b.git", "../../c.git", "git@h:c.git"},
		{"git@h:a/b.git", "../../../c.git", ""},
		{"ssh://git@h/a/b", "../c/", "ssh://git@h/a/c"},
	} {
		got, err := submoduleRemote(c.parent, c.url)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s + %s = %q, %v; want %q", c.parent, c.url, got, err, c.want)
		}
	}
}

// TestGitCancel: with the context git's helpers end too, which do the transfer.
func TestGitCancel(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("the program git is not installed")
	}
	w := newWorld(t)
	asked, over := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done() // the client is gone
		close(over)
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := w.git(t, GitTree{Remote: server.URL + "/x.git"}).List(ctx)
		done <- err
	}()
	select {
	case <-asked:
	case err := <-done:
		t.Fatalf("git does not ask the server: %v", err)
	}
	cancel()
	<-over
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}
