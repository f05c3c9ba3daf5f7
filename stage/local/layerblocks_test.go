package local_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// countingFS counts how often regular files are opened.
type countingFS struct {
	fstest.MapFS
	mu    sync.Mutex
	opens map[string]int
}

func (f *countingFS) Open(name string) (fs.File, error) {
	if file := f.MapFS[name]; file != nil {
		f.mu.Lock()
		f.opens[name]++
		f.mu.Unlock()
	}
	return f.MapFS.Open(name)
}

// ReadFile hides the method of MapFS, so that Open counts everything.
func (f *countingFS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return f.MapFS.ReadFile(name)
}

// take returns the files that were opened more often than once, and forgets.
func (f *countingFS) take() (twice []string) {
	for name, n := range f.opens {
		if n > 1 {
			twice = append(twice, name)
		}
	}
	f.opens = map[string]int{}
	return slices.Sorted(slices.Values(twice))
}

// damagedStore gives blobs of which every byte is another while bad is set.
type damagedStore struct {
	cache.Store
	bad   bool
	given atomic.Int64
}

func (s *damagedStore) Open(ctx context.Context, d cache.Digest) (cache.Blob, error) {
	b, err := s.Store.Open(ctx, d)
	if err != nil || !s.bad {
		return b, err
	}
	return &damagedBlob{b, s}, nil
}

type damagedBlob struct {
	cache.Blob
	store *damagedStore
}

func (b *damagedBlob) ReadAt(p []byte, at int64) (int, error) {
	n, err := b.Blob.ReadAt(p, at)
	for i := range p[:n] {
		p[i] ^= 0xff
	}
	b.store.given.Add(1)
	return n, err
}

// largeContext is a context whose layer has several blocks.
func largeContext(r *rand.Rand) *countingFS {
	files := fstest.MapFS{}
	for i := range 60 {
		files[fmt.Sprintf("d%d/f%02d", i%7, i)] = &fstest.MapFile{Data: randomBytes(r, 50_000+r.IntN(50_000)), Mode: 0o644}
	}
	return &countingFS{MapFS: files, opens: map[string]int{}}
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefgh\n"[r.IntN(9)]
	}
	return b
}

func imageDigest(t *testing.T, e stage.Executor, files fs.FS) v1.Hash {
	t.Helper()
	res := build(t, e, stage.Scratch().Copy(".", "/srv"), stage.Request{Context: stage.FS(files)})
	digest, err := res.Outputs()[0].Image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func executorOn(t *testing.T, s cache.Store) *local.Executor {
	t.Helper()
	e, err := local.New(local.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// TestLayerAfterEdit edits a context at random. Whatever blocks of earlier layers there are, whole, damaged or lost, the image is the
// one of a build that has none.
func TestLayerAfterEdit(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	context := largeContext(r)
	store := &damagedStore{Store: cache.NewMemory()}
	e := executorOn(t, store)
	imageDigest(t, e, context.MapFS)
	for round := range 16 {
		names := slices.Sorted(maps.Keys(context.MapFS))
		name := names[r.IntN(len(names))]
		old := context.MapFS[name]
		switch round % 4 {
		case 0, 1: // as long as before
			data := slices.Clone(old.Data)
			data[r.IntN(len(data))] ^= 1
			context.MapFS[name] = &fstest.MapFile{Data: data, Mode: old.Mode}
		case 2:
			context.MapFS[name] = &fstest.MapFile{Data: randomBytes(r, r.IntN(100_000)), Mode: old.Mode ^ 0o111}
		case 3:
			delete(context.MapFS, name)
			context.MapFS[name+"-new"] = old
		}
		store.bad = round%5 == 4
		got := imageDigest(t, e, context.MapFS)
		store.bad = false
		if want := imageDigest(t, executorOn(t, cache.NewMemory()), context.MapFS); got != want {
			t.Fatalf("round %d: the image is %s, without an earlier layer it is %s", round, got, want)
		}
	}
	if store.given.Load() == 0 {
		t.Error("the control: no damaged byte was read")
	}
}

// TestEditReadsOneBlock: after an edit only files beside the edited one are read for the layer.
func TestEditReadsOneBlock(t *testing.T) {
	context := largeContext(rand.New(rand.NewPCG(13, 14)))
	store := &countingStore{Store: cache.NewMemory(), written: map[cache.Digest]int{}}
	e := executorOn(t, store)
	imageDigest(t, e, context)
	if n := len(context.take()); n != len(context.MapFS) {
		t.Fatalf("the first build: %d of %d files were read for the layer", n, len(context.MapFS))
	}
	clear(store.written)
	file := context.MapFS["d3/f31"]
	file.Data[100] ^= 1
	imageDigest(t, e, context)
	if again := context.take(); len(again) > 30 || !slices.Contains(again, "d3/f31") {
		t.Errorf("read for the layer: %d files, %v", len(again), again)
	}
	if n := len(store.written); n > 2 { // the layer and the changes of the step
		t.Errorf("%d blobs were written", n)
	}
}
