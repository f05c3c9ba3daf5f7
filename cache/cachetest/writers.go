package cachetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

func create(t *testing.T, s cache.Store, data string) cache.Writer {
	t.Helper()
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(func() { w.Discard() })
	// In two pieces, the first of which is overwritten after Write returned.
	p := []byte(data)
	half := len(p) / 2
	if n, err := w.Write(p[:half]); n != half || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	clear(p[:half])
	if n, err := w.Write(p[half:]); n != len(p)-half || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	return w
}

func digest(data string) cache.Digest { return sha256.Sum256([]byte(data)) }

func commitWrongDigest(t *testing.T, s cache.Store) {
	w := create(t, s, "these bytes")
	got, err := w.Commit(t.Context(), digest("other bytes"))
	wantCorrupt(t, "Commit", err, digest("other bytes"), digest("these bytes"))
	if !got.IsZero() {
		t.Errorf("Commit returned %v with its error", got)
	}
	wantNoBlob(t, s, digest("these bytes"))
	wantNoBlob(t, s, digest("other bytes"))
	_, err = w.Commit(t.Context(), cache.Digest{})
	wantIs(t, "Commit after a failed one", err, cache.ErrDone)
}

func commitRightDigest(t *testing.T, s cache.Store) {
	want := digest("these bytes")
	got, err := create(t, s, "these bytes").Commit(t.Context(), want)
	if err != nil || got != want {
		t.Fatalf("Commit: %v, %v; want %v", got, err, want)
	}
	wantBlob(t, s, want, []byte("these bytes"))
}

// followWriter reads what is written beside the writer, where the store can do that.
func followWriter(t *testing.T, s cache.Store) {
	for _, commit := range []bool{true, false} {
		w := create(t, s, "some bytes")
		f, ok := w.(cache.Follower)
		if !ok {
			t.Skip("its writers are no Followers")
		}
		from, err := f.Follow()
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatalf("Follow: %v", err)
		}
		defer from.Close()
		wantFollowed(t, from, "some bytes")
		if _, err := w.Write([]byte(" and more")); err != nil {
			t.Fatal(err)
		}
		wantFollowed(t, from, "some bytes and more")
		if commit {
			_, err = w.Commit(t.Context(), digest("some bytes and more"))
		} else {
			err = w.Discard()
		}
		if err != nil {
			t.Fatal(err)
		}
		wantFollowed(t, from, "some bytes and more")
		if _, err := f.Follow(); !errors.Is(err, cache.ErrDone) {
			t.Errorf("Follow when it is done: %v, want ErrDone", err)
		}
	}
}

func wantFollowed(t *testing.T, from io.ReaderAt, want string) {
	t.Helper()
	got, err := io.ReadAll(io.NewSectionReader(from, 0, int64(len(want))+1))
	if err != nil || string(got) != want {
		t.Errorf("followed %q, %v; want %q", got, err, want)
	}
}

func commitOnce(t *testing.T, s cache.Store) {
	w := create(t, s, "once")
	d, err := w.Commit(t.Context(), cache.Digest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Commit(t.Context(), cache.Digest{})
	wantIs(t, "second Commit", err, cache.ErrDone)
	_, err = w.Write([]byte("more"))
	wantIs(t, "Write after Commit", err, cache.ErrDone)
	if err := w.Discard(); err != nil {
		t.Errorf("Discard after Commit: %v", err)
	}
	wantBlob(t, s, d, []byte("once"))
}

func discard(t *testing.T, s cache.Store) {
	w := create(t, s, "dropped")
	for range 2 {
		if err := w.Discard(); err != nil {
			t.Fatalf("Discard: %v", err)
		}
	}
	_, err := w.Write([]byte("more"))
	wantIs(t, "Write after Discard", err, cache.ErrDone)
	_, err = w.Commit(t.Context(), cache.Digest{})
	wantIs(t, "Commit after Discard", err, cache.ErrDone)
	wantNoBlob(t, s, digest("dropped"))
}

func invisible(t *testing.T, s cache.Store) {
	w := create(t, s, "on the way")
	wantNoBlob(t, s, digest("on the way"))
	if _, err := w.Commit(t.Context(), cache.Digest{}); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, s, digest("on the way"), []byte("on the way"))
}

func cancelled(t *testing.T, s cache.Store) {
	d := mustPutBlob(t, s, []byte("blob"))
	mustPut(t, s, key(1), []byte("old"))
	w := create(t, s, "too late")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, key(1))
	wantIs(t, "Get", err, context.Canceled)
	wantIs(t, "Put", s.Put(ctx, key(1), []byte("new")), context.Canceled)
	_, err = s.Open(ctx, d)
	wantIs(t, "Open", err, context.Canceled)
	_, err = s.Create(ctx)
	wantIs(t, "Create", err, context.Canceled)
	_, err = w.Commit(ctx, cache.Digest{})
	wantIs(t, "Commit", err, context.Canceled)
	_, err = w.Commit(t.Context(), cache.Digest{})
	wantIs(t, "Commit after a cancelled one", err, cache.ErrDone)
	_, err = cache.Lease(ctx, s)
	wantIs(t, "Lease", err, context.Canceled)
	wantRecord(t, s, key(1), []byte("old"))
	wantNoBlob(t, s, digest("too late"))
}

func cancelledReader(t *testing.T, s cache.Store) {
	d := mustPutBlob(t, s, pattern(100_000, 1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _, err := cache.NewReader(ctx, s, d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = io.Copy(io.Discard, r)
	wantIs(t, "reading after the context ended", err, context.Canceled)
}

func lease(t *testing.T, s cache.Store) {
	one, err := cache.Lease(t.Context(), s)
	if err != nil {
		t.Fatalf("Lease: %v", err)
	}
	two, err := cache.Lease(t.Context(), s)
	if err != nil {
		t.Fatalf("second Lease: %v", err)
	}
	for _, l := range []io.Closer{one, two, one, two} {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func dir(t *testing.T, s cache.Store) {
	name, ok := cache.Dir(s)
	if !ok {
		return
	}
	if !filepath.IsAbs(name) {
		t.Errorf("Dir is %q, want an absolute path", name)
	}
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		t.Errorf("Dir is %q, no directory: %v", name, err)
	}
}
