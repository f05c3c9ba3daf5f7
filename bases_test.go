package stagewright_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/lock"
)

// oneFile is an image with one file, v.
func oneFile(v string) stage.Stage { return stage.Scratch().File("/v", v).Env("V", v) }

func readFile(t *testing.T, res *stagewright.Result, path string) string {
	t.Helper()
	files, err := res.Files(res.Outputs()[0].Target.Step)
	if err != nil {
		t.Fatal(err)
	}
	f, err := files.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLayoutsAsBases(t *testing.T) {
	build := builder(t)
	t.Chdir(t.TempDir())
	build(oneFile("one"), stagewright.Options{Sinks: []image.Sink{layout.Dir("bases", "app:1")}})
	build(oneFile("two"), stagewright.Options{Sinks: []image.Sink{layout.Dir("bases", "app:2")}, Platforms: platform.MustParseSet("linux/amd64,linux/arm64")})
	one, err := layout.Resolve(t.Context(), "bases", "app:1", platform.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs("bases")
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"oci-layout://bases:1":                           "one",
		"oci-layout://./bases:2":                         "two",
		"oci-layout://" + abs + ":1":                     "one",
		"oci-layout://bases@" + one.Top.String():         "one",
		"oci-layout://bases:ignored@" + one.Top.String(): "one",
	} {
		res := build(stage.From(ref).CopyFrom(stage.Image(ref), "/v", "/copy"), stagewright.Options{})
		if got := readFile(t, res, "copy"); got != want {
			t.Errorf("%s: %q; want %q", ref, got, want)
		}
	}
	for ref, want := range map[string]string{
		"oci-layout://":               "names no directory",
		"oci-layout://none:1":         "no such directory",
		"oci-layout://bases:3":        "app:1",
		"oci-layout://bases":          "a name is needed",
		"oci-layout://bases@sha256:1": "digest",
	} {
		_, err := stagewright.Build(t.Context(), stage.From(ref).Label("a", "b"), stagewright.Options{CacheDir: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bases_test.go:") {
			t.Errorf("%s: error %v; want one with %q", ref, err, want)
		}
	}
	_, err = stagewright.Build(t.Context(), stage.From("oci-layout://bases:2").Label("a", "b"), stagewright.Options{CacheDir: t.TempDir(), Platforms: platform.MustParseSet("linux/s390x")})
	if err == nil || !strings.Contains(err.Error(), "linux/amd64") {
		t.Errorf("another platform: %v", err)
	}
}

func TestLockedBuildsAskNobody(t *testing.T) {
	var requests atomic.Int64
	var down atomic.Bool
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	build := builder(t)
	push := func(v string) {
		t.Helper()
		build(oneFile(v), stagewright.Options{Sinks: []image.Sink{registry.Push(host + "/base:1")}, Platforms: platform.MustParseSet("linux/amd64,linux/arm64")})
	}
	push("one")
	path := filepath.Join(t.TempDir(), "stagewright.lock")
	target := stage.From(host+"/base:1").CopyFrom(stage.Image(host+"/base:1"), "/v", "/copy").Label("v", "${V}")
	locked := stagewright.Options{Lock: path}
	if got := readFile(t, build(target, locked), "copy"); got != "one" {
		t.Errorf("%q", got)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "\n") != 2 || !strings.Contains(string(text), host+"/base:1 linux/") {
		t.Errorf("%q, %v", text, err)
	}

	// The tag moves, the build does not; and it asks nobody.
	push("two")
	requests.Store(0)
	down.Store(true)
	for _, mode := range []lock.Mode{lock.Add, lock.Frozen} {
		locked.LockMode = mode
		if got := readFile(t, build(target, locked), "copy"); got != "one" {
			t.Errorf("%q", got)
		}
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
	down.Store(false)
	var missing *lock.MissingError
	if _, err := stagewright.Build(t.Context(), stage.From(host+"/other:1").Label("a", "b"), locked); !errors.As(err, &missing) {
		t.Errorf("error %v; want a MissingError", err)
	}
	locked.LockMode = lock.Update
	if got := readFile(t, build(target, locked), "copy"); got != "two" {
		t.Errorf("after the update: %q", got)
	}
	if err := os.WriteFile(path, append(text, "oops\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	var bad *lock.SyntaxError
	if _, err := stagewright.Build(t.Context(), target, locked); !errors.As(err, &bad) || bad.Line != 3 {
		t.Errorf("error %v; want a SyntaxError of line 3", err)
	}
}

func TestPolicy(t *testing.T) {
	build := builder(t)
	t.Chdir(t.TempDir())
	build(oneFile("mirror"), stagewright.Options{Sinks: []image.Sink{layout.Dir("mirror", "app:1")}})
	o := stagewright.Options{Policy: func(_ context.Context, ref string, _ platform.Platform) (string, error) {
		if ref == "alpine:3.22" {
			return "oci-layout://mirror:1", nil
		}
		return "", errors.New("only alpine is allowed here")
	}}
	if got := readFile(t, build(stage.From("alpine:3.22").File("/x", "x"), o), "v"); got != "mirror" {
		t.Errorf("%q", got)
	}
	o.CacheDir = t.TempDir()
	if _, err := stagewright.Build(t.Context(), stage.From("debian").Label("a", "b"), o); err == nil || !strings.Contains(err.Error(), "only alpine") {
		t.Errorf("error %v", err)
	}
}
