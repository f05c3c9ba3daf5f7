package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/remote"
	"github.com/stagewright/stagewright/image/registry"
)

// faults are what a registry can do instead of answering. inner answers as it should.
var faults = map[string]func(w http.ResponseWriter, r *http.Request, inner http.Handler){
	"500": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusInternalServerError)
	},
	"401": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	},
	"403": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusForbidden) },
	"429": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	},
	"reset": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { hangUp(w) },
	"no answer": func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		<-r.Context().Done()
	},
	"truncated": func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		answer := recorded(r, inner)
		w.Header().Set("Content-Length", answer.Header().Get("Content-Length"))
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		w.(http.Flusher).Flush()
		hangUp(w)
	},
	"short": func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		answer := recorded(r, inner)
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
	},
	"lying": func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		answer := recorded(r, inner)
		body := answer.Body.Bytes()
		if len(body) > 0 {
			body[len(body)/2] ^= 1
		}
		w.WriteHeader(answer.Code)
		w.Write(body)
	},
	"endless": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		for r.Context().Err() == nil {
			w.Write(make([]byte, 1<<16))
		}
	},
	"one byte now and then": func(w http.ResponseWriter, r *http.Request, inner http.Handler) {
		answer := recorded(r, inner)
		w.Header().Set("Content-Length", answer.Header().Get("Content-Length"))
		w.WriteHeader(answer.Code)
		for _, b := range answer.Body.Bytes() {
			w.Write([]byte{b})
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	},
}

func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

func recorded(r *http.Request, inner http.Handler) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	inner.ServeHTTP(answer, r)
	return answer
}

// impatient waits for little, and counts notices.
func impatient(t *testing.T, notices *atomic.Int32) remote.Options {
	return remote.Options{
		Client:  registry.NewClient(registry.Options{Keychain: authn.NewMultiKeychain(), Backoff: time.Millisecond}),
		TempDir: t.TempDir(), Timeout: 300 * time.Millisecond, CompactAfter: -1,
		Notice: func(error) { notices.Add(1) },
	}
}

// TestFaults: whatever a registry does, and with which kind of answer, reading finds nothing, or what is right; it is told once.
func TestFaults(t *testing.T) {
	text := strings.Repeat("a text that is long enough to break off in the middle ", 20)
	for _, at := range []string{"/v2/", "/tags/list", "/manifests/", "/blobs/", "all"} {
		for name, fault := range faults {
			t.Run(name+" at "+at, func(t *testing.T) {
				t.Parallel()
				s := serve(t)
				writer := s.store(t, options(t))
				digests := put(t, writer, 0, text, text+"2", text+"3", text+"4", text+"5")
				flush(t, writer)
				s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
					hit := at == "all" || at == "/v2/" && r.URL.Path == at || at != "/v2/" && strings.Contains(r.URL.Path, at)
					if hit {
						fault(w, r, s.inner)
					}
					return hit
				})
				s.take()
				var notices atomic.Int32
				reader := cache.NewLayered(cache.NewMemory(), s.store(t, impatient(t, &notices)))
				data, err := reader.Get(t.Context(), key(0))
				missing := missed(t, data, err, text)
				for _, d := range digests {
					data, err := cache.ReadBlob(t.Context(), reader, d, 1<<20)
					missing += missed(t, data, err, text)
				}
				silent := name == "lying" && at != "/blobs/" // tags and manifests have no digest by which they are asked for
				if n := notices.Load(); n > 1 || n == 0 && missing > 0 && !silent {
					t.Errorf("%d notices, %d things missing", n, missing)
				}
				if missing == 0 && (at == "/blobs/" || at == "all") {
					t.Error("nothing is missing")
				}
				if n := len(s.take()); n > 30 {
					t.Errorf("%d requests", n)
				}
			})
		}
	}
}

// missed counts what was not found. What was found is right.
func missed(t *testing.T, data []byte, err error, text string) int {
	t.Helper()
	if errors.Is(err, cache.ErrNotFound) {
		return 1
	}
	if err != nil || !strings.HasPrefix(string(data), text) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	return 0
}

// TestBlobFaults: the index was read, and then blobs cannot be. After three failures nobody is asked any more.
func TestBlobFaults(t *testing.T) {
	text := strings.Repeat("a text that is long enough to break off in the middle ", 20)
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			writer := s.store(t, options(t))
			digests := put(t, writer, 0, text, text+"2", text+"3", text+"4", text+"5")
			flush(t, writer)
			var notices atomic.Int32
			patience := impatient(t, &notices)
			patience.Timeout = 1500 * time.Millisecond // what is well has to be there in time
			far := s.store(t, patience)
			reader := cache.NewLayered(cache.NewMemory(), far)
			want(t, reader, 0, text)
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				fault(w, r, s.inner)
				return true
			})
			for _, d := range digests {
				if data, err := cache.ReadBlob(t.Context(), reader, d, 1<<20); !errors.Is(err, cache.ErrNotFound) {
					t.Errorf("ReadBlob: %d bytes, %v", len(data), err)
				}
			}
			if n := notices.Load(); n != 1 {
				t.Errorf("%d notices", n)
			}
			s.intercept(nil)
			s.take()
			if _, err := far.Get(t.Context(), key(0)); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("after three failures: %v", err)
			}
			wantRequests(t, s.take())
		})
	}
}

// TestMissingBlobs: a registry that has collected blobs is well. They are missing, without a word, and come back when they are written again.
func TestMissingBlobs(t *testing.T) {
	s := serve(t)
	texts := []string{"text 0", "text 1", "text 2", "text 3", "text 4"}
	writer := s.store(t, options(t))
	digests := put(t, writer, 0, texts...)
	flush(t, writer)
	reader := s.store(t, options(t))
	want(t, reader, 0, texts...)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		lost := strings.HasSuffix(r.URL.Path, "/blobs/"+digests[0].String())
		if lost {
			w.WriteHeader(http.StatusNotFound)
		}
		return lost
	})
	for range 5 {
		if _, err := cache.ReadBlob(t.Context(), reader, digests[0], 100); !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("a blob that is gone: %v", err)
		}
	}
	wantBlob(t, reader, digests[1], texts[1])
	s.intercept(nil)
	put(t, reader, 0, texts...)
	s.take()
	flush(t, reader)
	if got := s.take(); len(got) < 2 {
		t.Errorf("what was found missing is not sent again: %q", got)
	}
	wantBlob(t, reader, digests[0], texts[0])
}

// TestUnreachable: nobody is there.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	var notices atomic.Int32
	s := opened(t)(remote.Registry(host+"/cache:main", impatient(t, &notices)))
	for range 3 {
		if _, err := s.Get(t.Context(), key(0)); !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("Get: %v", err)
		}
	}
	if n := notices.Load(); n != 1 {
		t.Errorf("%d notices", n)
	}
	put(t, s, 0, "text")
	err = s.Flush(t.Context())
	if !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("Flush: %v", err)
	}
}

// TestFlushFaults: a Flush that fails has made nothing visible, and is repeated with success.
func TestFlushFaults(t *testing.T) {
	for _, at := range []string{"POST", "PATCH", "PUT /v2/cache/blobs", "PUT /v2/cache/manifests"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			o := options(t)
			one := s.store(t, o)
			big := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<17)) // more than is sent in one request
			put(t, one, 0, "text", big)
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				hit := strings.HasPrefix(r.Method+" "+r.URL.Path, at)
				if hit {
					io.Copy(io.Discard, r.Body)
					w.WriteHeader(http.StatusInternalServerError)
				}
				return hit
			})
			var failure *registry.Error
			if err := one.Flush(t.Context()); !errors.As(err, &failure) {
				t.Errorf("Flush: %v", err)
			}
			want(t, one, 0, "text", big) // it waits still
			if _, err := s.store(t, options(t)).Get(t.Context(), key(0)); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("visible after a failure: %v", err)
			}
			s.intercept(nil)
			flush(t, one)
			want(t, s.store(t, options(t)), 0, "text", big)
		})
	}
}

// TestEverySecondRequestFails: it takes longer. Which of the requests that are sent at once fails is chance, and it may be the same one again and
// again; but as many fail in all as get through, so that with more retries than there are requests each gets through.
func TestEverySecondRequestFails(t *testing.T) {
	s := serve(t)
	patient := func() remote.Options {
		o := options(t)
		o.Client = registry.NewClient(registry.Options{Keychain: authn.NewMultiKeychain(), Backoff: time.Microsecond, Retries: 1000})
		return o
	}
	var n atomic.Int32
	s.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if n.Add(1)%2 == 0 {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	one := s.store(t, patient())
	digests := put(t, one, 0, "text 0", "text 1")
	flush(t, one)
	reader := s.store(t, patient())
	want(t, reader, 0, "text 0", "text 1")
	wantBlob(t, reader, digests[1], "text 1")
}

// TestCancelled: the caller's context ends, and that is no failure of the registry.
func TestCancelled(t *testing.T) {
	s := serve(t)
	one := s.store(t, options(t))
	d := put(t, one, 0, "text 0")[0]
	flush(t, one)
	reader := s.store(t, options(t))
	ctx, cancel := context.WithCancel(t.Context())
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	})
	for range 5 {
		if _, err := reader.Get(ctx, key(0)); !errors.Is(err, context.Canceled) {
			t.Errorf("Get: %v", err)
		}
	}
	s.intercept(nil)
	want(t, reader, 0, "text 0")
	b, err := reader.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel = context.WithCancel(t.Context())
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	})
	if err := b.(cache.Fetcher).Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch: %v", err)
	}
	s.intercept(nil)
	if err := b.(cache.Fetcher).Fetch(t.Context()); err != nil {
		t.Errorf("Fetch after one that was cancelled: %v", err)
	}
	wantBlob(t, reader, d, "text 0")
}
