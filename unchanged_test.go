package stagewright_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/stage"
)

// writesStore counts what is written.
type writesStore struct {
	*cache.Memory
	records, blobs atomic.Int64
}

func (s *writesStore) Put(ctx context.Context, key cache.Key, data []byte) error {
	s.records.Add(1)
	return s.Memory.Put(ctx, key, data)
}

func (s *writesStore) Create(ctx context.Context) (cache.Writer, error) {
	s.blobs.Add(1)
	return s.Memory.Create(ctx)
}

// An unchanged build on a base image writes nothing to the cache.
func TestUnchangedBuildWritesNothing(t *testing.T) {
	server := httptest.NewServer(ggcr.New())
	defer server.Close()
	base := strings.TrimPrefix(server.URL, "http://") + "/base:1"
	store := &writesStore{Memory: cache.NewMemory()}
	build := func(s stage.Stage, sinks ...image.Sink) {
		t.Helper()
		res, err := stagewright.Build(t.Context(), s, stagewright.Options{Store: store, Sinks: sinks})
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Close(); err != nil {
			t.Fatal(err)
		}
	}
	build(oneFile("1"), registry.Push(base))
	app := stage.From(base).File("/app", "app\n")
	build(app)
	store.records.Store(0)
	store.blobs.Store(0)
	build(app)
	if records, blobs := store.records.Load(), store.blobs.Load(); records != 0 || blobs != 0 {
		t.Errorf("an unchanged build wrote %d records and %d blobs", records, blobs)
	}
}
