//go:build linux

package faulttest_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/stagetest"
)

// world is what graphs are built from: files, a registry, a web server, a git repository. Children get it as JSON.
type world struct {
	Files    string // a directory with the context
	Dir      string // where a test keeps what it makes, and what its children take for /tmp
	Sandbox  bool   // Run steps work here
	Registry string // host:port
	Tar      string // URL of an archive
	TarSum   string
	Git      string // URL of a repository; empty without git

	*shared
}

// shared is what the parts of a test have of a world together.
type shared struct {
	registry *stagetest.RegistryServer
	family   *family
	mu       sync.Mutex
	golden   map[wanted]string
	cold     map[string]time.Duration // how long a build of each graph took in an empty cache
}

// newWorld makes a world that lasts as long as the test. It is the same files each time, so that keys are, too.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{shared: &shared{golden: map[wanted]string{}, cold: map[string]time.Duration{}, registry: stagetest.Registry(t)}}
	w = w.of(t)
	w.Files, w.Registry = w.Dir, w.registry.Host()
	w.writeContext(t)
	w.serveTar(t)
	w.serveGit(t)
	shell := stage.Scratch()
	if err := sandbox.Probe(t.Context(), namespaces.New(namespaces.Options{})); err != nil {
		t.Logf("without Run steps: they do not work here: %v", err)
	} else if _, err := toolbox.Build(t.Context(), ""); err != nil {
		t.Logf("without Run steps: there is no shell: %v", err)
	} else {
		shell, w.Sandbox = stagetest.Shell(t), true
	}
	w.family = newFamily()
	w.registry.Push("base:1", shell.File("/etc/base", "base\n").Mkdir("/srv").Env("BASE", "1"))
	return w
}

// of returns the same world with a directory for a part of the test. What a part that fails has left stays there to be looked at.
func (w *world) of(t *testing.T) *world {
	t.Helper()
	// Not t.TempDir, whose removal would fail the test for what a broken build left.
	dir, err := os.MkdirTemp("", "faulttest-")
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "tmp"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what is left is in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	part := *w
	part.Dir = dir
	return &part
}

// in returns a path below the world's directory, whose parent exists.
func (w *world) in(name ...string) string {
	p := filepath.Join(append([]string{w.Dir}, name...)...)
	_ = os.MkdirAll(filepath.Dir(p), 0o755)
	return p
}

func (w *world) writeContext(t *testing.T) {
	t.Helper()
	write := func(name, content string, mode os.FileMode) {
		p := w.in("context", name)
		if err := errors.Join(os.WriteFile(p, []byte(content), mode), os.Chmod(p, mode)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		write(fmt.Sprintf("src/d%d/f%d.go", i%5, i), strings.Repeat(fmt.Sprintf("line %d\n", i), 1+i*i), 0o644)
	}
	write("run.sh", "#!/bin/sh\necho run\n", 0o755)
	write("skip/me", "x", 0o644)
	write(".dockerignore", "skip\n", 0o644)
	if err := os.Symlink("src/d0", w.in("context", "link")); err != nil {
		t.Fatal(err)
	}
}

func (w *world) serveTar(t *testing.T) {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for i := range 20 {
		text := strings.Repeat(fmt.Sprintf("packed %d\n", i), 400)
		h := &tar.Header{Name: fmt.Sprintf("packed/%d", i), Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(1e9, 0)}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(tw, text)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.in("context", "packed.tar"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.ServeContent(rw, r, "packed.tar", time.Unix(1e9, 0), bytes.NewReader(b.Bytes()))
	}))
	t.Cleanup(s.Close)
	w.Tar, w.TarSum = s.URL+"/packed.tar", fmt.Sprintf("sha256:%x", sha256.Sum256(b.Bytes()))
}

// serveGit serves a repository with git's own server, where there is one.
func (w *world) serveGit(t *testing.T) {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, serr := os.Stat(backend); err != nil || serr != nil {
		return
	}
	repo := w.in("git", "r", "f")
	for _, name := range []string{"f", "d/g", "d/h"} {
		if err := os.WriteFile(w.in("git", "r", name), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"commit", "-q", "-m", "first"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = filepath.Dir(repo)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "GIT_AUTHOR_DATE=@1000000000 +0000", "GIT_COMMITTER_DATE=@1000000000 +0000")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	env := []string{"GIT_PROJECT_ROOT=" + filepath.Join(w.Dir, "git"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := &cgi.Handler{Path: backend, Env: env, Stderr: new(bytes.Buffer)}
		if p := r.Header.Get("Git-Protocol"); p != "" {
			h.Env = append(env[:len(env):len(env)], "GIT_PROTOCOL="+p)
		}
		h.ServeHTTP(rw, r)
	}))
	t.Cleanup(s.Close)
	w.Git = s.URL + "/r/.git"
}
