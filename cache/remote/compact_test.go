package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/remote"
	"github.com/stagewright/stagewright/image/registry"
)

// fill has writers send a record and a blob each, and returns the texts.
func fill(t *testing.T, open func(t *testing.T) *remote.Store, first, writers int) (texts []string, digests []cache.Digest) {
	t.Helper()
	for n := range writers {
		s := open(t)
		text := fmt.Sprintf("text %d", first+n)
		digests = append(digests, put(t, s, first+n, text)...)
		texts = append(texts, text)
		flush(t, s)
	}
	return texts, digests
}

func compact(t *testing.T, s *remote.Store, o remote.CompactOptions, want remote.Compaction) {
	t.Helper()
	got, err := s.Compact(t.Context(), o)
	if err != nil || got != want {
		t.Errorf("compaction %+v, %v; want %+v", got, err, want)
	}
}

func refuseDeletion(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodDelete {
		return false
	}
	w.WriteHeader(http.StatusMethodNotAllowed)
	return true
}

// TestCompact: five manifests become one, with everything that they had, and readers pay for one.
func TestCompact(t *testing.T) {
	for name, at := range media(t) {
		t.Run(name, func(t *testing.T) {
			open := at(t)
			texts, digests := fill(t, open, 0, 5)
			compact(t, open(t), remote.CompactOptions{}, remote.Compaction{Merged: 5, Deleted: 5})
			compact(t, open(t), remote.CompactOptions{}, remote.Compaction{})
			more, _ := fill(t, open, 5, 2)
			compact(t, open(t), remote.CompactOptions{}, remote.Compaction{Merged: 3, Deleted: 3})
			reader := open(t)
			want(t, reader, 0, append(texts, more...)...)
			for n, d := range digests {
				wantBlob(t, reader, d, texts[n])
			}
			if st := reader.Stats(); st.Manifests != 1 || st.Records != 7 || st.Blobs != 7 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestCompactRequests counts what a union costs, and what it saves.
func TestCompactRequests(t *testing.T) {
	s := serve(t)
	open := func(t *testing.T) *remote.Store { return s.store(t, options(t)) }
	texts, _ := fill(t, open, 0, 3)
	s.take()
	compact(t, open(t), remote.CompactOptions{}, remote.Compaction{Merged: 3, Deleted: 3})
	wantRequests(t, s.take(), hello, listing, writers, writers, writers, fetching, fetching, fetching,
		asking, beginning, sending, asking, "PUT /v2/cache/manifests/main-u",
		"DELETE /v2/cache/manifests/DIGEST", "DELETE /v2/cache/manifests/DIGEST", "DELETE /v2/cache/manifests/DIGEST",
		"DELETE /v2/cache/manifests/main-w", "DELETE /v2/cache/manifests/main-w", "DELETE /v2/cache/manifests/main-w")
	want(t, open(t), 0, texts...)
	wantRequests(t, s.take(), hello, listing, unions, fetching)
}

// TestCompactWithoutDeletion: where nothing is deleted, what was replaced stays, and costs its readers nothing.
func TestCompactWithoutDeletion(t *testing.T) {
	s := serve(t)
	s.intercept(refuseDeletion)
	open := func(t *testing.T) *remote.Store { return s.store(t, options(t)) }
	texts, _ := fill(t, open, 0, 3)
	compact(t, open(t), remote.CompactOptions{}, remote.Compaction{Merged: 3, Left: 3})
	more, _ := fill(t, open, 3, 2)
	compact(t, open(t), remote.CompactOptions{}, remote.Compaction{Merged: 3, Left: 6})
	s.take()
	want(t, open(t), 0, append(texts, more...)...)
	wantRequests(t, s.take(), hello, listing, unions, fetching)
	s.intercept(nil) // somebody allows it: what was left goes
	compact(t, open(t), remote.CompactOptions{}, remote.Compaction{Deleted: 6})
	if tags := s.tags(t); len(tags) != 1 {
		t.Errorf("tags %v", tags)
	}
	want(t, open(t), 0, append(texts, more...)...)
}

// TestMaxAge: what was not written for long goes, and what somebody wrote again stays.
func TestMaxAge(t *testing.T) {
	for name, at := range media(t) {
		t.Run(name, func(t *testing.T) {
			open := at(t)
			now := time.Now()
			clock := func(days int) func(t *testing.T) *remote.Store {
				return func(t *testing.T) *remote.Store {
					s := open(t)
					remote.SetClock(s, func() time.Time { return now.AddDate(0, 0, days) })
					return s
				}
			}
			old, digests := fill(t, clock(-10), 0, 3)
			again := clock(-1)(t)
			put(t, again, 0, old[0])
			flush(t, again)
			late, _ := fill(t, clock(0), 3, 1)
			compact(t, clock(0)(t), remote.CompactOptions{MaxAge: 5 * 24 * time.Hour}, remote.Compaction{Merged: 5, Deleted: 5, Dropped: 4})
			reader := open(t)
			want(t, reader, 0, old[0])
			want(t, reader, 3, late...)
			wantBlob(t, reader, digests[0], old[0])
			for n := 1; n < 3; n++ {
				if _, err := reader.Get(t.Context(), key(n)); !errors.Is(err, cache.ErrNotFound) {
					t.Errorf("old record %d: %v", n, err)
				}
				if _, err := reader.Open(t.Context(), digests[n]); !errors.Is(err, cache.ErrNotFound) {
					t.Errorf("old blob %d: %v", n, err)
				}
			}
			compact(t, clock(100)(t), remote.CompactOptions{MaxAge: time.Hour}, remote.Compaction{Merged: 1, Deleted: 1, Dropped: 4})
			if st := open(t).Stats(); st.Records != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestRenewal: what somebody looks for before he would send it, or reads, is as if it were written, once a day.
func TestRenewal(t *testing.T) {
	for name, at := range media(t) {
		t.Run(name, func(t *testing.T) {
			open := at(t)
			now := time.Now()
			old := open(t)
			remote.SetClock(old, func() time.Time { return now.AddDate(0, 0, -10) })
			texts := []string{"text 0", "text 1", strings.Repeat("a long record ", 10_000)}
			digests := put(t, old, 0, texts...)
			flush(t, old)
			for range 2 {
				again := open(t)
				b, err := again.Open(t.Context(), digests[1])
				if err != nil {
					t.Fatal(err)
				}
				b.Close()
				want(t, again, 2, texts[2])
				flush(t, again)
				if st := again.Stats(); st.Manifests != 2 {
					t.Errorf("%+v", st)
				}
			}
			compact(t, open(t), remote.CompactOptions{MaxAge: 5 * 24 * time.Hour}, remote.Compaction{Merged: 2, Deleted: 2, Dropped: 4})
			reader := open(t)
			wantBlob(t, reader, digests[1], texts[1])
			want(t, reader, 2, texts[2])
			if st := reader.Stats(); st.Records != 1 || st.Blobs != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestLostBlobs: a registry that has collected blobs which manifests name takes no union of them. It is made without.
func TestLostBlobs(t *testing.T) {
	s := serve(t)
	open := func(t *testing.T) *remote.Store { return s.store(t, options(t)) }
	texts, digests := fill(t, open, 0, 3)
	refused := false
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		lost := strings.HasSuffix(r.URL.Path, "/blobs/"+digests[1].String())
		if union := r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/main-u"); union && !refused || lost {
			refused = refused || union
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	compact(t, open(t), remote.CompactOptions{}, remote.Compaction{Merged: 3, Deleted: 3, Dropped: 1})
	reader := open(t)
	want(t, reader, 0, texts...)
	wantBlob(t, reader, digests[0], texts[0])
	if _, err := reader.Open(t.Context(), digests[1]); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("a lost blob: %v", err)
	}
}

// TestAutomaticCompaction: many small flushes do not leave many manifests.
func TestAutomaticCompaction(t *testing.T) {
	for name, at := range media(t) {
		t.Run(name, func(t *testing.T) {
			open := at(t)
			s := open(t)
			remote.SetCompactAfter(s, 4)
			var texts []string
			for n := range 20 {
				texts = append(texts, fmt.Sprintf("text %d", n))
				put(t, s, n, texts[n])
				flush(t, s)
				want(t, s, 0, texts...)
			}
			reader := open(t)
			want(t, reader, 0, texts...)
			if st := reader.Stats(); st.Manifests > 4 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestInterleaved runs one thing before each request of another: whatever comes in between, no record and no blob is lost, and a reader in
// the middle misses nothing that was there when it began.
func TestInterleaved(t *testing.T) {
	actions := map[string]func(*testing.T, *remote.Store, int){
		"write": func(t *testing.T, s *remote.Store, first int) {
			put(t, s, first, fmt.Sprintf("text %d", first))
			flush(t, s)
		},
		"compact": func(t *testing.T, s *remote.Store, _ int) {
			if _, err := s.Compact(t.Context(), remote.CompactOptions{}); err != nil {
				t.Error(err)
			}
		},
		"read": func(t *testing.T, s *remote.Store, _ int) { want(t, s, 0, "text 0", "text 1", "text 2") },
	}
	orders := [][]string{{"write"}, {"compact"}, {"read"}, {"compact", "compact"}, {"compact", "write", "compact"}}
	step := 2
	if testing.Short() {
		step = 4
	}
	for _, deleting := range []bool{true, false} {
		for outer, run := range actions {
			for _, inner := range orders {
				t.Run(fmt.Sprintf("%v in %s, deleting %v", inner, outer, deleting), func(t *testing.T) {
					for at := 1; ; at += step {
						s := serve(t)
						if !deleting {
							s.intercept(refuseDeletion)
						}
						open := func(t *testing.T) *remote.Store { return s.store(t, options(t)) }
						texts, _ := fill(t, open, 0, 3)
						between := func() {
							for n, name := range inner {
								actions[name](t, open(t), 4+n)
							}
						}
						o := options(t)
						o.Client = pausing(at, between)
						ran := s.store(t, o)
						run(t, ran, 3)
						if !paused(o.Client) {
							if at < 4 {
								t.Errorf("%d requests", at)
							}
							return
						}
						check := open(t)
						want(t, check, 0, texts...)
						if outer == "write" {
							want(t, check, 3, "text 3")
						}
						for n, name := range inner {
							if name == "write" {
								want(t, check, 4+n, fmt.Sprintf("text %d", 4+n))
							}
						}
						actions["compact"](t, open(t), 0)
						want(t, open(t), 0, texts...)
						if t.Failed() {
							t.Fatalf("before request %d", at)
						}
					}
				})
			}
		}
	}
}

// pausing is a client that does something before its request with the number at.
func pausing(at int, between func()) *registry.Client {
	p := &pause{at: at, between: between}
	c := registry.NewClient(registry.Options{Keychain: authn.NewMultiKeychain(), Backoff: time.Millisecond, Transport: p, Jobs: 1})
	pauses.Store(c, p)
	return c
}

func paused(c *registry.Client) bool {
	p, _ := pauses.LoadAndDelete(c)
	return p.(*pause).done
}

var pauses sync.Map // of *registry.Client: *pause

type pause struct {
	at      int
	between func()

	mu   sync.Mutex
	seen int
	done bool
}

func (p *pause) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	if p.seen++; p.seen == p.at {
		p.done = true
		p.between()
	}
	p.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

// TestTogether has writers, compactors and readers at once.
func TestTogether(t *testing.T) {
	for name, at := range media(t) {
		t.Run(name, func(t *testing.T) { together(t, at(t)) })
	}
}

func together(t *testing.T, open func(t *testing.T) *remote.Store) {
	texts, _ := fill(t, open, 0, 3)
	const writers, rounds = 4, 4
	var all, rest sync.WaitGroup
	ctx, end := context.WithCancel(t.Context())
	for w := range writers {
		s := open(t)
		all.Go(func() {
			for r := range rounds {
				n := 3 + w*rounds + r
				if err := s.Put(t.Context(), key(n), fmt.Appendf(nil, "text %d", n)); err != nil {
					t.Error(err)
				}
				if err := s.Flush(t.Context()); err != nil {
					t.Errorf("flush %d: %v", n, err)
				}
			}
		})
	}
	for range 2 {
		s := open(t)
		rest.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.Compact(t.Context(), remote.CompactOptions{}); err != nil {
					t.Errorf("compaction: %v", err)
					return
				}
			}
		})
	}
	rest.Go(func() {
		for ctx.Err() == nil {
			want(t, open(t), 0, texts...)
		}
	})
	all.Wait()
	end()
	rest.Wait()
	for n := 3; n < 3+writers*rounds; n++ {
		texts = append(texts, fmt.Sprintf("text %d", n))
	}
	want(t, open(t), 0, texts...)
	if _, err := open(t).Compact(t.Context(), remote.CompactOptions{}); err != nil {
		t.Error(err)
	}
	want(t, open(t), 0, texts...)
}

// TestNamesApart: caches whose names begin alike, and images, in one repository do not meet.
func TestNamesApart(t *testing.T) {
	s := serve(t)
	named := func(name string) func(t *testing.T) *remote.Store {
		return func(t *testing.T) *remote.Store {
			return opened(t)(remote.Registry(s.host+"/cache:"+name, options(t)))
		}
	}
	names := []string{"main", "main-2", "main-w", "m"}
	for n, name := range names {
		fill(t, named(name), 10*n, 2)
	}
	for _, name := range names {
		compact(t, named(name)(t), remote.CompactOptions{}, remote.Compaction{Merged: 2, Deleted: 2})
	}
	for n, name := range names {
		store := named(name)(t)
		want(t, store, 10*n, fmt.Sprintf("text %d", 10*n), fmt.Sprintf("text %d", 10*n+1))
		if st := store.Stats(); st.Manifests != 1 || st.Records != 2 {
			t.Errorf("%s: %+v", name, st)
		}
	}
	for _, bad := range []string{"/cache@sha256:" + strings.Repeat("0", 64), "/cache:" + strings.Repeat("x", 97), "/Cache"} {
		if _, err := remote.Registry(s.host+bad, options(t)); err == nil {
			t.Errorf("%s is no mistake", bad)
		}
	}
	for _, bad := range []string{"a/b", ".", strings.Repeat("x", 97)} {
		if _, err := remote.Layout(t.TempDir(), bad, options(t)); err == nil {
			t.Errorf("%q is no mistake", bad)
		}
	}
}

// TestPlainForm: a registry that takes images alone gets something like one.
func TestPlainForm(t *testing.T) {
	s := serve(t)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		raw, err := io.ReadAll(r.Body)
		if err != nil || bytes.Contains(raw, []byte("vnd.oci.empty")) || bytes.Contains(raw, []byte("octet-stream")) {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"errors":[{"code":"MANIFEST_INVALID","message":"unknown media type"}]}`)
			return true
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		return false
	})
	open := func(t *testing.T) *remote.Store { return s.store(t, options(t)) }
	texts, digests := fill(t, open, 0, 3)
	compact(t, open(t), remote.CompactOptions{}, remote.Compaction{Merged: 3, Deleted: 3})
	reader := open(t)
	want(t, reader, 0, texts...)
	wantBlob(t, reader, digests[2], texts[2])
}

// TestManyBlobs: more than one manifest may name.
func TestManyBlobs(t *testing.T) {
	if testing.Short() {
		t.Skip("ten thousand requests")
	}
	s := serve(t)
	open := func(t *testing.T) *remote.Store { return s.store(t, options(t)) }
	one := open(t)
	texts := make([]string, 2100)
	for n := range texts {
		texts[n] = fmt.Sprintf("text %d", n)
	}
	digests := put(t, one, 0, texts...)
	flush(t, one)
	if tags := s.tags(t); len(tags) != 2 {
		t.Errorf("%q", tags)
	}
	reader := open(t)
	want(t, reader, 0, texts...)
	wantBlob(t, reader, digests[2099], texts[2099])
	fill(t, open, 5000, 2)
	// What is nearly full stays, and the small ones become one.
	compact(t, open(t), remote.CompactOptions{}, remote.Compaction{Merged: 3, Deleted: 3})
	want(t, open(t), 0, texts...)
}
