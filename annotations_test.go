package stagewright_test

import (
	"maps"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// annotations are those of the first image's manifest, and of the index if there is one.
func annotations(t *testing.T, res *stagewright.Result) (ofImage, ofIndex map[string]string) {
	t.Helper()
	m, err := res.Outputs()[0].Image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if index := res.Artifact().Index; index != nil {
		x, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		ofIndex = x.Annotations
	}
	return m.Annotations, ofIndex
}

const known = "org.opencontainers.image."

func TestAnnotationsOfTheBase(t *testing.T) {
	reg := newRegistry(t)
	build := builder(t)
	both := platform.MustParseSet("linux/amd64,linux/arm64")
	ref := reg.host + "/base:1"
	base := build(stage.Scratch().File("/base", "x"), stagewright.Options{Platforms: both, Sinks: []image.Sink{registry.Push(ref)}})
	first, err := base.Outputs()[0].Image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	app := stage.From(ref).File("/app", "x")
	res := build(app, stagewright.Options{Platforms: both, Annotations: map[string]string{"own": "1"}})
	ofImage, ofIndex := annotations(t, res)
	if want := map[string]string{known + "base.name": ref, known + "base.digest": first.String(), "own": "1"}; !maps.Equal(ofImage, want) {
		t.Errorf("the image has %v, want %v", ofImage, want)
	}
	if want := map[string]string{known + "base.name": ref, known + "base.digest": digestOf(t, base)}; !maps.Equal(ofIndex, want) {
		t.Errorf("the index has %v, want %v", ofIndex, want)
	}

	ofImage, _ = annotations(t, build(app, stagewright.Options{Annotations: map[string]string{known + "base.name": "", known + "base.digest": "mine"}}))
	if want := map[string]string{known + "base.digest": "mine"}; !maps.Equal(ofImage, want) {
		t.Errorf("with options of one's own: %v, want %v", ofImage, want)
	}
	if ofImage, _ = annotations(t, build(app, stagewright.Options{MediaTypes: image.Docker})); len(ofImage) > 0 {
		t.Errorf("Docker's manifests have no annotations: %v", ofImage)
	}

	// A directory of this machine means nothing elsewhere.
	dir := filepath.Join(t.TempDir(), "oci")
	build(stage.Scratch().File("/base", "x"), stagewright.Options{Sinks: []image.Sink{layout.Dir(dir, "a:1")}})
	if ofImage, _ = annotations(t, build(stage.From("oci-layout://"+dir).File("/app", "x"), stagewright.Options{})); len(ofImage) > 0 {
		t.Errorf("of a base in a layout: %v", ofImage)
	}
}

func TestAnnotationCreated(t *testing.T) {
	build := builder(t)
	s := stage.Scratch().File("/f", "x")
	if got, _ := annotations(t, build(s, stagewright.Options{})); len(got) > 0 {
		t.Errorf("without an epoch: %v", got)
	}
	epoch := time.Unix(1_700_000_000, 0)
	if got, _ := annotations(t, build(s, stagewright.Options{Epoch: epoch})); got[known+"created"] != "2023-11-14T22:13:20Z" {
		t.Errorf("with Epoch: %v", got)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	if got, _ := annotations(t, build(s, stagewright.Options{})); got[known+"created"] != "2023-11-14T22:13:20Z" {
		t.Errorf("with SOURCE_DATE_EPOCH: %v", got)
	}
}

func TestAnnotationsOfAGitContext(t *testing.T) {
	exe, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Skip("the program git is not installed")
	}
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@t"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main", ".")
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("A"), 0o666); err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "-qm", "a")
	commit := git("rev-parse", "HEAD")
	build := builder(t)
	server := httptest.NewServer(&cgi.Handler{Path: strings.TrimSpace(string(exe)) + "/git-http-backend", Env: []string{
		"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}})
	defer server.Close()
	remote := server.URL + "/.git"
	secret := strings.Replace(remote, "://", "://user:password@", 1)
	s := stage.Scratch().Copy("a.txt", "/")
	for range 2 { // the second time every step is a hit
		got, _ := annotations(t, build(s, stagewright.Options{Context: stage.Git(secret)}))
		if want := map[string]string{known + "source": remote, known + "revision": commit}; !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if got, _ := annotations(t, build(stage.Scratch().AddFrom(stage.Git(remote), "/"), stagewright.Options{})); len(got) > 0 {
		t.Errorf("a repository that is not the context: %v", got)
	}
}
