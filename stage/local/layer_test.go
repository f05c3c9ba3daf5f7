package local_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// countingStore counts how often each blob is written.
type countingStore struct {
	cache.Store

	mu      sync.Mutex
	written map[cache.Digest]int
}

func (s *countingStore) Create(ctx context.Context) (cache.Writer, error) {
	w, err := s.Store.Create(ctx)
	return &countingWriter{w, s}, err
}

type countingWriter struct {
	cache.Writer
	store *countingStore
}

func (w *countingWriter) Commit(ctx context.Context, want cache.Digest) (cache.Digest, error) {
	d, err := w.Writer.Commit(ctx, want)
	w.store.mu.Lock()
	w.store.written[d]++
	w.store.mu.Unlock()
	return d, err
}

// The platforms of a build have their own steps; layers with the same files are compressed once for all of them.
func TestPlatformsShareLayers(t *testing.T) {
	context := fstest.MapFS{"same": {Data: bytes.Repeat([]byte("same\n"), 1<<20)}, "amd64": {Data: []byte("a\n")}, "arm64": {Data: []byte("b\n")}}
	target := stage.Scratch().Copy("same", "/").Arg(arg.New("TARGETARCH")).Copy("${TARGETARCH}", "/arch")
	g, err := stage.Compile(t.Context(), []stage.Stage{target}, stage.Options{Platforms: platform.MustParseSet("linux/amd64,linux/arm64")})
	if err != nil {
		t.Fatal(err)
	}
	store := &countingStore{Store: cache.NewMemory(), written: map[cache.Digest]int{}}
	e, err := local.New(local.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	res, err := e.Execute(t.Context(), g, stage.Request{Context: stage.FS(context)})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	layers := map[v1.Hash]bool{}
	for _, o := range res.Outputs() {
		list, err := o.Image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range list {
			d, err := l.Digest()
			if err != nil {
				t.Fatal(err)
			}
			layers[d] = true
		}
	}
	if len(layers) != 3 {
		t.Fatalf("the images have %d different layers, want 3", len(layers))
	}
	for d := range layers {
		digest, err := cache.ParseDigest(d.String())
		if err != nil {
			t.Fatal(err)
		}
		if n := store.written[digest]; n != 1 {
			t.Errorf("layer %s was written %d times", d, n)
		}
	}
}
