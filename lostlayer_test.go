package stagewright_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// TestLostLayersAreMadeWhenRead: a layer whose digest is known and whose bytes are gone is compressed only for a sink that reads it.
func TestLostLayersAreMadeWhenRead(t *testing.T) {
	reg := newRegistry(t)
	store := &countingStore{Memory: cache.NewMemory()}
	files := &countingFS{FS: fstest.MapFS{"a": {Data: noise(2 << 20)}, "b": {Data: []byte("b")}}}
	target := stage.Scratch().Copy("a", "/").Copy("b", "/").File("/c", "c")
	build := func(sinks ...image.Sink) (*stagewright.Result, error) {
		store.writes.Store(0)
		files.opens.Store(0)
		return stagewright.Build(t.Context(), target, stagewright.Options{Store: store, Context: stagewright.FS(files), Sinks: sinks})
	}
	first, err := build(registry.Push(reg.host + "/app:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	want := layersOf(t, first)
	lose := func() {
		for _, l := range want {
			d, err := cache.ParseDigest(l.Digest.String())
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Drop(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
	}

	lose()
	hashed := int64(2) // an fs.FS has no stat memo: each file is read for its digest
	again, err := build(registry.Push(reg.host + "/app:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := layersOf(t, again); !slices.EqualFunc(got, want, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest }) {
		t.Errorf("layers %v, want %v", got, want)
	}
	if w, o := store.writes.Load(), files.opens.Load(); w != 0 || o > hashed {
		t.Errorf("a push of what the registry has compressed %d layers and opened %d files", w, o)
	}

	dir := t.TempDir()
	two, err := build(layout.Dir(filepath.Join(dir, "one"), "app:1"), layout.Dir(filepath.Join(dir, "two"), "app:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if w := store.writes.Load(); w != int64(len(want)) {
		t.Errorf("two sinks compressed %d layers, want each of %d once", w, len(want))
	}
	a, err := layout.Read(filepath.Join(dir, "two"), "app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(a.Image); err != nil {
		t.Error(err)
	}

	// What has changed since is found out, and written nowhere.
	lose()
	later, err := build()
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	files.FS = fstest.MapFS{"a": {Data: noise(2<<20 - 1)}, "b": {Data: []byte("b")}}
	if err := layout.Dir(filepath.Join(dir, "three"), "app:1").Write(t.Context(), later.Artifact()); err == nil || !strings.Contains(err.Error(), "a") {
		t.Errorf("a file that changed: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "three")); err == nil {
		t.Error("the layout is there")
	}
}

// TestLostLayerOfARunStep: the directory that the step left gives the bytes, and nothing runs again. What is asked for while
// sinks work is told one event at a time.
func TestLostLayerOfARunStep(t *testing.T) {
	shell := shellStage(t)
	dir := t.TempDir()
	store, err := cache.OpenDisk(filepath.Join(dir, "cache"), cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	reg := newRegistry(t)
	ref := reg.host + "/base:1"
	builder(t)(stage.Scratch().File("/from/base", "base"), stagewright.Options{Sinks: []image.Sink{registry.Push(ref)}})
	target := shell.Run("echo made > /made; ln /made /linked").CopyFrom(stage.Image(ref), "/from/base", "/copied")
	var busy atomic.Int32
	build := func(sinks ...image.Sink) *stagewright.Result {
		t.Helper()
		res, err := stagewright.Build(t.Context(), target, stagewright.Options{Store: store, Sinks: sinks, Progress: func(stage.Event) {
			if busy.Add(1) != 1 {
				t.Error("two events at once")
			}
			busy.Add(-1)
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Close() })
		return res
	}
	want := layersOf(t, build())
	for _, l := range want {
		d, err := cache.ParseDigest(l.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Drop(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	res := build(layout.Dir(filepath.Join(dir, "one"), "app:1"), layout.Dir(filepath.Join(dir, "two"), "app:1"))
	if n := res.Report().Ran(); n != 0 {
		t.Errorf("%d steps ran again", n)
	}
	if got := layersOf(t, res); !slices.EqualFunc(got, want, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest }) {
		t.Errorf("layers %v, want %v", got, want)
	}
	img, err := res.Image()
	if err != nil {
		t.Fatal(err)
	}
	readLayers(t, img)
}

// shellStage is a stage with a shell. The test is skipped where no sandbox works.
func shellStage(t *testing.T) stage.Stage {
	t.Helper()
	if err := sandbox.Probe(t.Context(), namespaces.New(namespaces.Options{})); err != nil {
		t.Skipf("no sandbox on this machine: %v", err)
	}
	home, err := os.UserCacheDir()
	if err != nil {
		home = os.TempDir()
	}
	bin, err := toolbox.Build(t.Context(), filepath.Join(home, "stagewright-test"))
	if err != nil {
		t.Fatal(err)
	}
	return stage.Scratch().CopyFrom(stage.FS(bin.Files()), ".", "/").Env("PATH", "/bin")
}

// TestForcedLayersAreMadeWhenRead: a base layer in another form is no different from a layer of one's own.
func TestForcedLayersAreMadeWhenRead(t *testing.T) {
	reg := newRegistry(t)
	ref := reg.host + "/base:1"
	builder(t)(stage.Scratch().File("/base", "base"), stagewright.Options{Sinks: []image.Sink{registry.Push(ref)}})
	store := &countingStore{Memory: cache.NewMemory()}
	o := stagewright.Options{Store: store, Compression: image.Compression{Format: image.Zstd, Force: true}}
	target := stage.From(ref).Label("a", "b")
	first, err := stagewright.Build(t.Context(), target, o)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	lost, err := cache.ParseDigest(layersOf(t, first)[0].Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Drop(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	reg.gets.Store(0)
	again, err := stagewright.Build(t.Context(), target, o)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if n := reg.gets.Load(); n > 1 { // the config
		t.Errorf("%d blobs were asked for", n)
	}
	img, err := again.Image()
	if err != nil {
		t.Fatal(err)
	}
	store.writes.Store(0)
	readLayers(t, img)
	if store.writes.Load() != 1 || reg.gets.Load() > 1 {
		t.Errorf("the layer was compressed %d times, and %d blobs were asked for", store.writes.Load(), reg.gets.Load())
	}
}
