package stagewright_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// reader is a sink that reads layers while they are made.
type reader struct {
	mu     sync.Mutex
	read   map[v1.Hash][]byte
	edited []bool
	ended  int
	wrote  int
	fail   error
}

func (r *reader) Ahead(ctx context.Context, g *image.Growing) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edited = append(r.edited, g.Edited())
	done := make(chan struct{})
	go func() {
		defer close(done)
		data, err := io.ReadAll(g.Reader(ctx))
		digest, _, _ := g.Digest()
		if err != nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.read[digest] = data
	}()
	return func() {
		<-done
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended++
	}
}

func (r *reader) Write(ctx context.Context, a image.Artifact) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrote++
	return r.fail
}

// large is a context whose layer is worth being sent while it is made.
func large(seed uint64) fstest.MapFS {
	data := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
	return fstest.MapFS{"large": {Data: data, Mode: 0o644}, "small": {Data: []byte("x"), Mode: 0o644}}
}

// A large layer is given to sinks while it is made, what is found in the cache is not, and nothing of it is left when the build ends.
func TestAhead(t *testing.T) {
	sink := &reader{read: map[v1.Hash][]byte{}}
	cacheDir := t.TempDir()
	build := func(seed uint64, s stage.Stage) (*stagewright.Result, error) {
		return stagewright.Build(t.Context(), s, stagewright.Options{
			Context: stagewright.FS(large(seed)), CacheDir: cacheDir, Sinks: []image.Sink{sink, image.SinkFunc(func(context.Context, image.Artifact) error { return nil })},
		})
	}
	all := stage.Scratch().Copy(stage.Files("."), "/")
	for n, want := range []struct {
		seed   uint64
		stage  stage.Stage
		layers []bool // of those that were given so far, whether they are edited ones
	}{
		{1, all, []bool{false}},
		{1, all, []bool{false}},
		{2, all, []bool{false, true}},
		{3, stage.Scratch().Copy(stage.Files("small"), "/"), []bool{false, true}},
	} {
		res, err := build(want.seed, want.stage)
		if err != nil {
			t.Fatal(err)
		}
		if len(sink.edited) != len(want.layers) || len(want.layers) == 2 && !sink.edited[1] || sink.edited[0] || sink.ended != len(want.layers) {
			t.Fatalf("build %d: given %v, ended %d; want %v", n, sink.edited, sink.ended, want.layers)
		}
		if n == 0 || n == 2 {
			img, err := res.Image()
			if err != nil {
				t.Fatal(err)
			}
			layers, err := img.Layers()
			if err != nil {
				t.Fatal(err)
			}
			digest, _ := layers[0].Digest()
			rc, err := layers[0].Compressed()
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(rc)
			rc.Close()
			if err != nil || !bytes.Equal(data, sink.read[digest]) {
				t.Errorf("build %d: what was read while it was made is not the layer: %d bytes of %d, %v", n, len(sink.read[digest]), len(data), err)
			}
		}
		if err := res.Close(); err != nil {
			t.Error(err)
		}
	}
	// That of a stage which only a cache export wants is nothing for sinks.
	maker := stage.Scratch().Func("large", "1", func(_ context.Context, _ fs.FS, out stage.Writer) error {
		files := large(5)
		return errors.Join(out.WriteFile("/large", 0o644, bytes.NewReader(files["large"].Data)), out.WriteFile("/small", 0o644, strings.NewReader("x")))
	})
	res, err := stagewright.Build(t.Context(), stage.Scratch().CopyFrom(maker, "/small", "/"), stagewright.Options{
		CacheDir: cacheDir, Sinks: []image.Sink{sink},
		CacheTo: []stagewright.CacheExport{{Store: cache.NewMemory(), Mode: local.CacheMax}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Close(); err != nil || len(sink.edited) != 2 {
		t.Errorf("given %v, error %v", sink.edited, err)
	}
	// What is looked for elsewhere first is sent ahead all the same when it is made.
	res, err = stagewright.Build(t.Context(), all, stagewright.Options{
		Context: stagewright.FS(large(6)), CacheDir: cacheDir, Sinks: []image.Sink{sink}, CacheFrom: []cache.Store{cache.NewMemory()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Close(); err != nil || len(sink.edited) != 3 {
		t.Errorf("with CacheFrom: given %v, error %v", sink.edited, err)
	}
	sink.fail = errors.New("no")
	if _, err := build(4, all); !errors.Is(err, sink.fail) || sink.ended != 4 {
		t.Errorf("error %v, ended %d", err, sink.ended)
	}
}

// What was sent of an image that comes to nothing is given up; a name gets its layer once.
func TestAheadInRegistry(t *testing.T) {
	l := newListed(t)
	all := stage.Scratch().Copy(stage.Files("."), "/")
	o := stagewright.Options{Context: stagewright.FS(large(1)), CacheDir: t.TempDir(), Sinks: []image.Sink{registry.Push(l.host + "/app:1.0")}}
	o.MaxLayers = 1
	if _, err := stagewright.Build(t.Context(), all.Copy(stage.Files("small"), "/other"), o); err == nil || !strings.Contains(err.Error(), "layers") {
		t.Fatalf("error %v", err)
	}
	requests := l.take()
	if begun := counted(requests, "POST "); counted(requests, "DELETE ") != begun || counted(requests, "PUT ") != 0 {
		t.Errorf("requests %q", requests)
	}
	o.CacheDir, o.MaxLayers = t.TempDir(), 0
	res, err := stagewright.Build(t.Context(), all, o)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	requests = l.take()
	if counted(requests, "PATCH ") != 1 || counted(requests, "PUT /v2/app/manifests/") != 1 || counted(requests, "DELETE ") != 0 {
		t.Errorf("requests %q", requests)
	}
}
