package stagewright_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// layered is a registry on loopback with a base image of several layers, which counts how
// often each layer's bytes are asked for.
type layered struct {
	ref string

	mu     sync.Mutex
	layers map[string]bool // digests
	gets   map[string]int
	before func() // each of them
}

// newLayered makes layers of the given headers, each with its name as contents.
func newLayered(t *testing.T, layers ...[]tar.Header) *layered {
	t.Helper()
	r := &layered{layers: map[string]bool{}, gets: map[string]int{}, before: func() {}}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, digest, ok := strings.Cut(q.URL.Path, "/blobs/"); ok && q.Method == http.MethodGet {
			r.count(digest)()
		}
		inner.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	r.ref = strings.TrimPrefix(server.URL, "http://") + "/base:1"
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	for _, headers := range layers {
		layer := tarLayer(t, headers)
		d, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		r.layers[d.String()] = true
		r.mu.Unlock()
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	ref, err := name.ParseReference(r.ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return r
}

func tarLayer(t *testing.T, headers []tar.Header) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, h.Name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// count counts a request for a blob, and returns what is to be done before the answer.
func (r *layered) count(digest string) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.layers[digest] {
		return func() {}
	}
	r.gets[digest]++
	return r.before
}

// counted is how often the layers were asked for: all together, and the most for one.
func (r *layered) counted() (all, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.gets {
		all, most = all+n, max(most, n)
	}
	return all, most
}

func (r *layered) want(t *testing.T, when string, all int) {
	t.Helper()
	if got, most := r.counted(); got != all || most > 1 {
		t.Errorf("%s: layers of the base were asked for %d times, one of them %d times; want %d, each at most once", when, got, most, all)
	}
}

// threeLayers has directories of files, a file that a layer replaces, and a hard link to a
// file of a layer below.
func threeLayers() [][]tar.Header {
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	layers := [][]tar.Header{{file("etc/passwd"), file("etc/old")}, {file("etc/old")}, {{Typeflag: tar.TypeLink, Name: "linked", Linkname: "etc/passwd", Mode: 0o644}}}
	for i := range layers {
		for j := range 50 {
			layers[i] = append(layers[i], file(fmt.Sprintf("usr/lib/%d/file%d", i, j)))
		}
	}
	return layers
}

var linuxAmd64 = platform.MustParseSet("linux/amd64")

// One file on a base that is in the target registry: the base's layers are read once in the
// life of a cache, and with Link not at all.
func TestBaseIsLazy(t *testing.T) {
	r := newLayered(t, threeLayers()...)
	build := builder(t)
	app := stage.From(r.ref)
	o := stagewright.Options{Platforms: linuxAmd64, Sinks: []image.Sink{registry.Push(strings.Replace(r.ref, "/base:1", "/app:1", 1))}}
	file := stage.Scratch().File("/f", "new")

	build(app.CopyFrom(file, "/f", "/usr/lib/0/new", stage.Link()), o)
	r.want(t, "with Link", 0)
	build(app.File("/usr/lib/0/new", "1"), o)
	r.want(t, "cold", 3)
	build(app.File("/usr/lib/0/new", "2"), o)
	build(app.File("/usr/lib/1/new", "3"), o)
	r.want(t, "with the layers' index in the cache", 3)
}

// Files of a base are read out of its layers as they are: no directory is made for them,
// which needs Linux, and nothing is fetched again.
func TestFilesOfBase(t *testing.T) {
	r := newLayered(t, threeLayers()...)
	dir := t.TempDir()
	app := stage.Scratch().CopyFrom(stage.Image(r.ref), "/usr/lib", "/lib").CopyFrom(stage.Image(r.ref), "/etc", "/etc").
		CopyFrom(stage.Image(r.ref), "/linked", "/linked")
	for range 2 {
		res, err := stagewright.Build(t.Context(), app, stagewright.Options{Platforms: linuxAmd64, CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		files, err := res.FS()
		if err != nil {
			t.Fatal(err)
		}
		for at, want := range map[string]string{
			"lib/0/file7": "usr/lib/0/file7", "lib/2/file49": "usr/lib/2/file49", "etc/old": "etc/old", "linked": "etc/passwd",
		} {
			if got, err := fs.ReadFile(files, at); err != nil || string(got) != want {
				t.Errorf("%s has %q, %v; want %q", at, got, err, want)
			}
		}
		if err := res.Close(); err != nil {
			t.Error(err)
		}
		r.want(t, "copied out of the base", 3)
	}
	if made, _ := filepath.Glob(filepath.Join(dir, "private", "snapshots", "layers", "*")); len(made) != 0 {
		t.Errorf("%d directories were made of the base", len(made))
	}
}

// A Run step on a base that was never read wants directories of its layers: they are made of
// what was decompressed for the index.
func TestRunOnColdBase(t *testing.T) {
	shellStage := shell(t)
	r := newLayered(t, threeLayers()...)
	res := builder(t)(stage.From(r.ref).Merge(shellStage).Env("PATH", "/bin").Run("cat /linked /etc/old /usr/lib/2/file3 > /out"), stagewright.Options{})
	files, err := res.FS()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fs.ReadFile(files, "out"); err != nil || string(got) != "etc/passwdetc/oldusr/lib/2/file3" {
		t.Errorf("the step saw %q, %v", got, err)
	}
	r.want(t, "under a Run step", 3)
}

// lazyBuilder makes a test process a builder of a file on the base that it names, with a
// cache directory.
const lazyBuilder = "STAGEWRIGHT_TEST_LAZY_BUILDER"

// TestLazyBuilder is the other process of TestOneDownload.
func TestLazyBuilder(t *testing.T) {
	dir, ref, ok := strings.Cut(os.Getenv(lazyBuilder), "=")
	if !ok {
		return
	}
	res, err := stagewright.Build(t.Context(), stage.From(ref).File("/usr/other", "x"), stagewright.Options{CacheDir: dir, Platforms: linuxAmd64})
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
}

// Two processes that want the same base at the same time fetch it once.
func TestOneDownload(t *testing.T) {
	r := newLayered(t, threeLayers()...)
	dir := t.TempDir()
	asked, waits := make(chan struct{}), make(chan struct{})
	var first, told sync.Once
	r.mu.Lock()
	r.before = func() {
		first.Do(func() { close(asked) })
		<-waits // until the other process waits for this one
	}
	r.mu.Unlock()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLazyBuilder$")
	cmd.Env = append(os.Environ(), lazyBuilder+"="+dir+"="+r.ref)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	res, err := stagewright.Build(t.Context(), stage.From(r.ref).File("/usr/this", "x"), stagewright.Options{
		CacheDir: dir, Platforms: linuxAmd64,
		Progress: func(ev stage.Event) {
			if n, ok := ev.(stage.Notice); ok && strings.Contains(n.Text, "waiting for another build") {
				told.Do(func() { close(waits) })
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	r.want(t, "two processes", 3)
}
