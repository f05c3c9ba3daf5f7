package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/cachetest"
)

// TestLayeredConformance: nothing behind changes what a store promises.
func TestLayeredConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cache.Store{
		"nothing behind": func(*testing.T) cache.Store { return cache.NewLayered(cache.NewMemory()) },
		"memory behind memory": func(*testing.T) cache.Store {
			return cache.NewLayered(cache.NewMemory(), cache.NewMemory(), cache.NewMemory())
		},
		"disk behind memory": func(t *testing.T) cache.Store {
			return cache.NewLayered(cache.NewMemory(), openDisk(t, t.TempDir()))
		},
		"memory behind disk": func(t *testing.T) cache.Store {
			return cache.NewLayered(openDisk(t, t.TempDir()), cache.NewMemory())
		},
	} {
		t.Run(name, func(t *testing.T) { cachetest.Test(t, open) })
	}
}

// far is a store whose blobs are elsewhere, and counts what is asked of it.
type far struct {
	*cache.Memory
	fail                      error  // of Stream and Fetch
	damage                    bool   // bytes are not those of the digest
	before                    func() // each transfer
	streams, fetches, dropped atomic.Int32
}

func (f *far) Open(ctx context.Context, d cache.Digest) (cache.Blob, error) {
	b, err := f.Memory.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	return &farBlob{b, f}, nil
}

func (f *far) Drop(ctx context.Context, d cache.Digest) error {
	f.dropped.Add(1)
	return f.Memory.Drop(ctx, d)
}

type farBlob struct {
	cache.Blob
	of *far
}

func (b *farBlob) Fetch(context.Context) error {
	b.of.fetches.Add(1)
	return b.of.fail
}

func (b *farBlob) Stream(ctx context.Context) (io.ReadCloser, error) {
	b.of.streams.Add(1)
	if b.of.before != nil {
		b.of.before()
	}
	data := make([]byte, b.Size())
	if _, err := b.ReadAt(data, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if b.of.damage {
		data[0] ^= 1
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(data[:len(data)/2]), &ending{bytes.NewReader(data[len(data)/2:]), b.of.fail})), ctx.Err()
}

type ending struct {
	io.Reader
	err error
}

func (e *ending) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return e.Reader.Read(p)
}

// full takes nothing.
type full struct{ cache.Store }

func (full) Put(context.Context, cache.Key, []byte) error { return syscall.ENOSPC }
func (full) Create(context.Context) (cache.Writer, error) { return fullWriter{}, nil }

type fullWriter struct{ cache.Writer }

func (fullWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
func (fullWriter) Discard() error            { return nil }

func putFar(t *testing.T, text string) (*far, cache.Digest, cache.Key) {
	t.Helper()
	f := &far{Memory: cache.NewMemory()}
	d, err := cache.PutBlob(t.Context(), f, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	key := cache.NewKey("far", 1).Sum()
	if err := f.Put(t.Context(), key, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return f, d, key
}

// TestLayeredReads: what is behind comes to the front once, however many read it at once.
func TestLayeredReads(t *testing.T) {
	f, d, key := putFar(t, "from afar")
	near := cache.NewMemory()
	s := cache.NewLayered(near, cache.NewMemory(), f)
	b, err := s.Open(t.Context(), d)
	if err != nil || b.Size() != 9 {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil || f.streams.Load() != 0 {
		t.Errorf("%v, %d transfers of a blob that nobody read", err, f.streams.Load())
	}
	start := make(chan struct{})
	f.before = func() { <-start }
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if data, err := cache.ReadBlob(t.Context(), s, d, 100); err != nil || string(data) != "from afar" {
				t.Errorf("%q, %v", data, err)
			}
			if data, err := s.Get(t.Context(), key); err != nil || string(data) != "from afar" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	close(start)
	all.Wait()
	if n := f.streams.Load(); n != 1 || f.fetches.Load() != 0 {
		t.Errorf("%d transfers, %d fetches, want one transfer", n, f.fetches.Load())
	}
	for _, where := range []cache.Store{near, s} {
		if data, err := cache.ReadBlob(t.Context(), where, d, 100); err != nil || string(data) != "from afar" {
			t.Errorf("%q, %v", data, err)
		}
		if data, err := where.Get(t.Context(), key); err != nil || string(data) != "from afar" {
			t.Errorf("%q, %v", data, err)
		}
	}
}

// TestLayeredTooLarge: what is longer than who reads it allows is not fetched.
func TestLayeredTooLarge(t *testing.T) {
	f, d, _ := putFar(t, "from afar")
	_, err := cache.ReadBlob(t.Context(), cache.NewLayered(cache.NewMemory(), f), d, 8)
	if !errors.Is(err, cache.ErrTooLarge) || f.streams.Load() != 0 {
		t.Errorf("%v, %d transfers", err, f.streams.Load())
	}
}

// TestLayeredFailures: a store behind that fails is passed over, and one that lies forgets its lie.
func TestLayeredFailures(t *testing.T) {
	for name, test := range map[string]struct {
		spoil   func(*far)
		dropped int32
	}{
		"breaks off": {func(f *far) { f.fail = cache.ErrNotFound }, 0},
		"lies":       {func(f *far) { f.damage = true }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bad, d, _ := putFar(t, "from afar")
			test.spoil(bad)
			alone := cache.NewLayered(cache.NewMemory(), bad)
			if _, err := cache.ReadBlob(t.Context(), alone, d, 100); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("alone: %v", err)
			}
			if bad.dropped.Load() != test.dropped {
				t.Errorf("dropped %d times", bad.dropped.Load())
			}
			bad, d, _ = putFar(t, "from afar")
			test.spoil(bad)
			good, _, _ := putFar(t, "from afar")
			near := cache.NewMemory()
			data, err := cache.ReadBlob(t.Context(), cache.NewLayered(near, bad, good), d, 100)
			if err != nil || string(data) != "from afar" {
				t.Errorf("with another behind: %q, %v", data, err)
			}
			if _, err := near.Open(t.Context(), d); err != nil {
				t.Errorf("in the front: %v", err)
			}
		})
	}
}

// TestLayeredFullFront: where the front takes nothing, what is behind is read there.
func TestLayeredFullFront(t *testing.T) {
	f, d, key := putFar(t, "from afar")
	s := cache.NewLayered(full{cache.NewMemory()}, f)
	for range 2 {
		if data, err := cache.ReadBlob(t.Context(), s, d, 100); err != nil || string(data) != "from afar" {
			t.Errorf("%q, %v", data, err)
		}
		if data, err := s.Get(t.Context(), key); err != nil || string(data) != "from afar" {
			t.Errorf("%q, %v", data, err)
		}
	}
}

// TestLayeredHeals: a blob that is damaged in the front comes from behind again.
func TestLayeredHeals(t *testing.T) {
	f, d, _ := putFar(t, "from afar")
	dir := t.TempDir()
	s := cache.NewLayered(openDisk(t, dir), f)
	read := func() error {
		_, err := cache.ReadBlob(t.Context(), s, d, 100)
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	damaged := false
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && strings.Contains(path, d.Hex()[2:]) {
			damaged = true
			return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("from hell"), 0o600))
		}
		return err
	})
	if err != nil || !damaged {
		t.Fatalf("damaged %v, %v", damaged, err)
	}
	if err := read(); !errors.As(err, new(*cache.CorruptError)) {
		t.Errorf("damaged: %v", err)
	}
	if err := read(); err != nil {
		t.Errorf("after that: %v", err)
	}
	if f.streams.Load() != 2 {
		t.Errorf("%d transfers", f.streams.Load())
	}
}

// TestLayeredCancelled: who has waited in vain leaves the transfer to the others.
func TestLayeredCancelled(t *testing.T) {
	f, d, key := putFar(t, "from afar")
	s := cache.NewLayered(cache.NewMemory(), f)
	ctx, cancel := context.WithCancel(t.Context())
	f.before = sync.OnceFunc(cancel)
	if _, err := cache.ReadBlob(ctx, s, d, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := s.Get(ctx, key); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if data, err := cache.ReadBlob(t.Context(), s, d, 100); err != nil || string(data) != "from afar" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestLayeredIsItsFront: what only some stores can do is what the front can.
func TestLayeredIsItsFront(t *testing.T) {
	disk := openDisk(t, t.TempDir())
	for name, s := range map[string]cache.Store{
		"once": cache.NewLayered(disk, cache.NewMemory()), "twice": cache.NewLayered(cache.NewLayered(disk), cache.NewMemory()),
	} {
		if dir, ok := cache.Dir(s); !ok || dir != disk.Dir() {
			t.Errorf("%s: %q, %v", name, dir, ok)
		}
	}
	if dir, ok := cache.Dir(cache.NewLayered(cache.NewMemory(), disk)); ok {
		t.Errorf("the private directory of a store behind: %q", dir)
	}
	locks := cache.NewLayered(lockless{cache.NewMemory()})
	for range 2 {
		if _, err := cache.Lock(t.Context(), locks, cache.Key{}, nil); err != nil {
			t.Error(err)
		}
	}
}

type lockless struct{ cache.Store }

// TestCopyBlob: what is elsewhere passes by once; what is there is not read; a lie is dropped and not copied.
func TestCopyBlob(t *testing.T) {
	f, d, _ := putFar(t, "from afar")
	to := cache.NewMemory()
	for range 2 {
		if err := cache.CopyBlob(t.Context(), to, f, d); err != nil {
			t.Fatal(err)
		}
	}
	if f.streams.Load() != 1 || f.fetches.Load() != 0 {
		t.Errorf("%d transfers, %d fetches", f.streams.Load(), f.fetches.Load())
	}
	if data, err := cache.ReadBlob(t.Context(), to, d, 100); err != nil || string(data) != "from afar" {
		t.Errorf("%q, %v", data, err)
	}
	if err := cache.CopyBlob(t.Context(), to, f, cache.Digest{1}); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("what is nowhere: %v", err)
	}
	f.damage = true
	to = cache.NewMemory()
	if err := cache.CopyBlob(t.Context(), to, f, d); !errors.As(err, new(*cache.CorruptError)) || f.dropped.Load() != 1 {
		t.Errorf("%v, dropped %d times", err, f.dropped.Load())
	}
	if _, err := to.Open(t.Context(), d); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("a lie was copied: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f, d, _ = putFar(t, "from afar")
	f.before = cancel
	if err := cache.CopyBlob(ctx, to, f, d); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
