package stagewright_test

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/stage"
)

// network is all that a test can reach: a registry, a file and a git repository, which
// count what they are asked, and can be down.
type network struct {
	host     string // of all of them
	git      string // URL of the repository
	requests atomic.Int64
	down     atomic.Bool
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{}
	mux := http.NewServeMux()
	mux.Handle("/v2/", ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "downloaded") })
	if exe, err := exec.Command("git", "--exec-path").Output(); err == nil {
		dir := t.TempDir()
		for _, args := range [][]string{
			{"init", "-q", "-b", "main", "."}, {"config", "user.name", "t"}, {"config", "user.email", "t@t"}, {"add", "."}, {"commit", "-qm", "a"},
		} {
			if err := os.WriteFile(filepath.Join(dir, "g.txt"), []byte("cloned"), 0o666); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
			cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("git %v: %v\n%s", args, err, out)
			}
		}
		mux.Handle("/.git/", &cgi.Handler{Path: strings.TrimSpace(string(exe)) + "/git-http-backend", Env: []string{
			"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		}})
		n.git = "/.git"
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.requests.Add(1)
		if n.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	n.host = strings.TrimPrefix(server.URL, "http://")
	if n.git != "" {
		n.git = server.URL + n.git
	}
	return n
}

// quick gives up at once.
func quick() registry.Options { return registry.Options{Retries: -1} }

// pushBase moves the tag of the base image.
func (n *network) pushBase(t *testing.T, v string) {
	t.Helper()
	builder(t)(oneFile(v), stagewright.Options{Sinks: []image.Sink{registry.Push(n.host + "/base:1")}, Platforms: linuxAmd64})
}

// asked is how many requests were made since it was called last.
func (n *network) asked() int64 { return n.requests.Swap(0) }

// The default and PullAlways ask; PullMissing asks once, sends nothing for an unchanged
// build, and works from memory when the registry is down; PullNever asks nobody.
func TestPullPolicies(t *testing.T) {
	n := newNetwork(t)
	n.pushBase(t, "one")
	build := builder(t)
	target := stage.From(n.host+"/base:1").CopyFrom(stage.Image(n.host+"/base:1"), "/v", "/copy").Label("v", "${V}")
	var notices []string
	options := func(p stagewright.PullPolicy) stagewright.Options {
		return stagewright.Options{Pull: p, Platforms: linuxAmd64, Registry: quick(), Progress: func(e stage.Event) {
			if e, ok := e.(stage.Notice); ok {
				notices = append(notices, e.Text)
			}
		}}
	}
	want := func(when string, p stagewright.PullPolicy, text string, asks bool) {
		t.Helper()
		n.asked()
		if got := readFile(t, build(target, options(p)), "copy"); got != text {
			t.Errorf("%s: the base is %q, want %q", when, got, text)
		}
		if asked := n.asked(); asked > 0 != asks {
			t.Errorf("%s: %d requests", when, asked)
		}
	}
	if _, err := stagewright.Build(t.Context(), target, stagewright.Options{Pull: stagewright.PullNever, CacheDir: t.TempDir()}); !errors.Is(err, stagewright.ErrOffline) ||
		!strings.Contains(err.Error(), n.host+"/base:1") || !strings.Contains(err.Error(), "build once while") {
		t.Errorf("never, with an empty cache: %v", err)
	}
	n.asked()
	want("missing, with an empty cache", stagewright.PullMissing, "one", true)
	n.pushBase(t, "two")
	want("missing", stagewright.PullMissing, "one", false)
	want("never", stagewright.PullNever, "one", false)
	want("by default", "", "two", true)
	want("missing, after another build has seen the tag move", stagewright.PullMissing, "two", false)
	n.pushBase(t, "three")
	want("always", stagewright.PullAlways, "three", true)

	n.down.Store(true)
	want("missing, and down", stagewright.PullMissing, "three", false)
	_, err := stagewright.Build(t.Context(), target, options(stagewright.PullAlways))
	if err == nil {
		t.Error("always, and down: no error")
	}
	o := options(stagewright.PullMissing)
	o.PullAge = time.Nanosecond
	notices = nil
	if got := readFile(t, build(target, o), "copy"); got != "three" || n.asked() == 0 {
		t.Errorf("older than PullAge, and down: %q", got)
	}
	if len(notices) == 0 || !strings.Contains(notices[0], n.host+"/base:1") {
		t.Errorf("nobody was told: %q", notices)
	}
	n.down.Store(false)
	n.pushBase(t, "four")
	if got := readFile(t, build(target, o), "copy"); got != "four" {
		t.Errorf("older than PullAge: %q", got)
	}
}

// Always, with a registry that is down, says that the cache knows the image.
func TestPullAdvice(t *testing.T) {
	n := newNetwork(t)
	n.pushBase(t, "one")
	dir := t.TempDir()
	o := stagewright.Options{CacheDir: dir, Platforms: linuxAmd64, Registry: quick()}
	target := stage.From(n.host+"/base:1").Label("a", "b")
	res, err := stagewright.Build(t.Context(), target, o)
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	n.down.Store(true)
	if _, err := stagewright.Build(t.Context(), target, o); err == nil || !strings.Contains(err.Error(), "PullMissing builds on that") {
		t.Errorf("error %v", err)
	}
	n.down.Store(false)
	for text, o := range map[string]stagewright.Options{
		`Options.Pull is "newer"`: {Pull: "newer"},
		"choose one":              {Pull: stagewright.PullAlways, Offline: true},
		"Options.PullAge":         {PullAge: -1},
	} {
		if _, err := stagewright.Build(t.Context(), target, o); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want one with %q", err, text)
		}
	}
}

// Offline, an unchanged build asks nobody, and neither does a changed one as long as the
// cache has what it needs.
func TestOffline(t *testing.T) {
	n := newNetwork(t)
	n.pushBase(t, "one")
	dir := t.TempDir()
	host := "http://" + n.host
	target := func(text string) stage.Stage {
		s := stage.From(n.host+"/base:1").File("/f", text).
			CopyFrom(stage.Image(n.host+"/base:1"), "/v", "/copy").
			AddFrom(stage.HTTPUnchecked(host+"/file"), "/file")
		if n.git != "" {
			s = s.AddFrom(stage.Git(n.git+"#main"), "/git/")
		}
		return s
	}
	build := func(s stage.Stage, o stagewright.Options) (*stagewright.Result, error) {
		o.CacheDir, o.Platforms, o.Registry = dir, linuxAmd64, quick()
		res, err := stagewright.Build(t.Context(), s, o)
		if err == nil {
			t.Cleanup(func() { res.Close() })
		}
		return res, err
	}
	offline := stagewright.Options{Offline: true}

	n.asked()
	_, err := build(target("1"), offline)
	if asked := n.asked(); asked != 0 {
		t.Errorf("%d requests were sent offline", asked)
	}
	if !errors.Is(err, stagewright.ErrOffline) || !strings.Contains(err.Error(), n.host+"/base:1") || !strings.Contains(err.Error(), "pull_test.go:") {
		t.Errorf("with an empty cache: %v", err)
	}
	res, err := build(target("1"), stagewright.Options{Lock: filepath.Join(dir, "lock")})
	if err != nil {
		t.Fatal(err)
	}
	want, err := res.Digest()
	if err != nil {
		t.Fatal(err)
	}

	n.asked()
	n.down.Store(true)
	for name, o := range map[string]stagewright.Options{
		"offline": offline, "offline and PullMissing": {Offline: true, Pull: stagewright.PullMissing},
		"offline, with a lock file": {Offline: true, Lock: filepath.Join(dir, "lock")},
	} {
		o.Sinks = []image.Sink{layout.Dir(filepath.Join(t.TempDir(), "out"), "app:1"), archive.Docker(filepath.Join(t.TempDir(), "app.tar"), "app:1")}
		res, err := build(target("1"), o)
		if err != nil {
			t.Errorf("%s, unchanged: %v", name, err)
			continue
		}
		if got, err := res.Digest(); err != nil || got != want {
			t.Errorf("%s: digest %s, %v; want %s", name, got, err, want)
		}
		res, err = build(target("of "+name), o)
		if err != nil {
			t.Errorf("%s, changed: %v", name, err)
			continue
		}
		for path, text := range map[string]string{"f": "of " + name, "copy": "one", "file": "downloaded"} {
			if got := readFile(t, res, path); got != text {
				t.Errorf("%s: %s has %q", name, path, got)
			}
		}
		if n.git != "" && readFile(t, res, "git/g.txt") != "cloned" {
			t.Errorf("%s: the repository's file is not there", name)
		}
	}
	for what, s := range map[string]stage.Stage{
		host + "/other":   stage.Scratch().AddFrom(stage.HTTPUnchecked(host+"/other"), "/file"),
		n.host + "/app:1": stage.Scratch().CopyFrom(stage.Image(n.host+"/app:1"), "/v", "/v"),
		n.git + "#branch": stage.Scratch().AddFrom(stage.Git(n.git+"#branch"), "/git/"),
	} {
		if strings.HasPrefix(what, "#") {
			continue
		}
		if _, err := build(s, offline); !errors.Is(err, stagewright.ErrOffline) || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "build once") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = build(target("1"), stagewright.Options{Offline: true, Sinks: []image.Sink{registry.Push(n.host + "/app:1")}, Progress: func(e stage.Event) { t.Errorf("%T before the error of the sink", e) }})
	if !errors.Is(err, stagewright.ErrOffline) || !strings.Contains(err.Error(), n.host) {
		t.Errorf("a push: %v", err)
	}
	if asked := n.asked(); asked != 0 {
		t.Errorf("%d requests were sent offline", asked)
	}
}

// A layer of a base that nobody read is fetched when it is needed: offline that is an error
// with the image's name, and once a sink had it, it is in the cache.
func TestOfflineLayers(t *testing.T) {
	n := newNetwork(t)
	n.pushBase(t, "one")
	dir := t.TempDir()
	run := func(s stage.Stage, offline bool, sinks ...image.Sink) error {
		res, err := stagewright.Build(t.Context(), s, stagewright.Options{CacheDir: dir, Platforms: linuxAmd64, Registry: quick(), Offline: offline, Sinks: sinks})
		if err == nil {
			err = res.Close()
		}
		return err
	}
	out := func() image.Sink { return archive.Docker(filepath.Join(t.TempDir(), "app.tar"), "app:1") }
	labelled := stage.From(n.host+"/base:1").Label("a", "b")
	changed := stage.From(n.host+"/base:1").File("/x", "x")
	if err := run(labelled, false); err != nil {
		t.Fatal(err)
	}
	n.asked()
	for name, f := range map[string]func() error{
		"a step": func() error { return run(changed, true) },
		"a sink": func() error { return run(labelled, true, out()) },
	} {
		if err := f(); !errors.Is(err, stagewright.ErrOffline) || !strings.Contains(err.Error(), n.host+"/base") {
			t.Errorf("%s that needs a layer: %v", name, err)
		}
	}
	if asked := n.asked(); asked != 0 {
		t.Errorf("%d requests were sent offline", asked)
	}
	if err := run(labelled, false, out()); err != nil {
		t.Fatal(err)
	}
	n.asked()
	for name, f := range map[string]func() error{
		"a step": func() error { return run(changed, true) },
		"a sink": func() error { return run(labelled, true, out()) },
	} {
		if err := f(); err != nil {
			t.Errorf("%s, when the layer was fetched for a sink: %v", name, err)
		}
	}
	if err := run(changed, false, out()); err != nil {
		t.Fatal(err)
	}
	if asked := n.asked(); asked > 3 {
		t.Errorf("%d requests for an image that the cache has all of", asked)
	}
}
