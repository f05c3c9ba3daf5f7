package remote_test

import (
	"context"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/cachetest"
	"github.com/stagewright/stagewright/cache/remote"
)

// media are the places of a cache, each with a function that opens one and the same again.
func media(t *testing.T) map[string]func(t *testing.T) func(t *testing.T) *remote.Store {
	return map[string]func(t *testing.T) func(t *testing.T) *remote.Store{
		"memory registry": func(t *testing.T) func(t *testing.T) *remote.Store {
			s := serve(t)
			return func(t *testing.T) *remote.Store { return s.store(t, options(t)) }
		},
		"layout": func(t *testing.T) func(t *testing.T) *remote.Store {
			dir := t.TempDir() + "/layout"
			return func(t *testing.T) *remote.Store { return opened(t)(remote.Layout(dir, "main", options(t))) }
		},
	}
}

// TestConformance: what was gathered, as this store sees it.
func TestConformance(t *testing.T) {
	for name, at := range media(t) {
		t.Run(name, func(t *testing.T) {
			cachetest.Test(t, func(t *testing.T) cache.Store { return at(t)(t) })
		})
	}
}

// TestConformanceSent: what others see after a Flush. Each Get and Open is by a store that has just been opened.
func TestConformanceSent(t *testing.T) {
	for name, at := range media(t) {
		t.Run(name, func(t *testing.T) {
			if name == "layout" && testing.Short() {
				t.Skip("each of its flushes waits for the disk")
			}
			cachetest.Test(t, func(t *testing.T) cache.Store {
				return sent(t, at(t))
			})
		})
	}
}

func sent(t *testing.T, again func(t *testing.T) *remote.Store) cache.Store {
	s := again(t)
	remote.SetCompactAfter(s, 4)
	return &flushed{t: t, again: again, Store: s}
}

// flushed is a store that sends what is written at once, and reads with another one.
type flushed struct {
	t     *testing.T
	again func(t *testing.T) *remote.Store
	cache.Store
}

func (f *flushed) Get(ctx context.Context, key cache.Key) ([]byte, error) {
	return f.again(f.t).Get(ctx, key)
}

func (f *flushed) Open(ctx context.Context, d cache.Digest) (cache.Blob, error) {
	return f.again(f.t).Open(ctx, d)
}

func (f *flushed) Put(ctx context.Context, key cache.Key, data []byte) error {
	if err := f.Store.Put(ctx, key, data); err != nil {
		return err
	}
	return cache.Flush(ctx, f.Store)
}

func (f *flushed) Create(ctx context.Context) (cache.Writer, error) {
	w, err := f.Store.Create(ctx)
	return &flushedWriter{w, f}, err
}

type flushedWriter struct {
	cache.Writer
	of *flushed
}

func (w *flushedWriter) Commit(ctx context.Context, want cache.Digest) (cache.Digest, error) {
	d, err := w.Writer.Commit(ctx, want)
	if err == nil {
		err = cache.Flush(ctx, w.of.Store)
	}
	return d, err
}
