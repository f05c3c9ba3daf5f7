//go:build linux

package faulttest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/remote"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/stage/local"
)

// misbehaviour is what a registry does to a request instead of answering it. body is the good answer's.
type misbehaviour struct {
	name string
	do   func(s *badRegistry, w http.ResponseWriter, r *http.Request, good *httptest.ResponseRecorder)
}

var misbehaviours = []misbehaviour{
	{"503", func(_ *badRegistry, w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}},
	{"429 for an hour", func(_ *badRegistry, w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}},
	{"401", func(_ *badRegistry, w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder) {
		w.WriteHeader(http.StatusUnauthorized)
	}},
	{"404", func(_ *badRegistry, w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder) {
		w.WriteHeader(http.StatusNotFound)
	}},
	{"reset", func(_ *badRegistry, w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder) {
		hangUp(w, nil, true)
	}},
	{"cut short", func(_ *badRegistry, w http.ResponseWriter, _ *http.Request, good *httptest.ResponseRecorder) {
		hangUp(w, answerOf(good, good.Body.Bytes()[:good.Body.Len()/2]), false)
	}},
	{"other bytes", func(_ *badRegistry, w http.ResponseWriter, _ *http.Request, good *httptest.ResponseRecorder) {
		body := bytes.Clone(good.Body.Bytes())
		if len(body) > 0 {
			body[len(body)/2] ^= 1
		}
		replay(w, good, body)
	}},
	{"garbage", func(_ *badRegistry, w http.ResponseWriter, _ *http.Request, good *httptest.ResponseRecorder) {
		good.Header().Del("Content-Length")
		replay(w, good, bytes.Repeat([]byte(`{"tags":[{"`), 1000))
	}},
	{"silence", func(s *badRegistry, _ http.ResponseWriter, r *http.Request, _ *httptest.ResponseRecorder) {
		s.wait(r, time.Hour)
	}},
	{"a byte at a time", func(s *badRegistry, w http.ResponseWriter, r *http.Request, good *httptest.ResponseRecorder) {
		for k, v := range good.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(good.Code)
		for _, b := range good.Body.Bytes() {
			if _, err := w.Write([]byte{b}); err != nil || !s.wait(r, 300*time.Millisecond) {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	}},
}

func replay(w http.ResponseWriter, good *httptest.ResponseRecorder, body []byte) {
	for k, v := range good.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(good.Code)
	_, _ = w.Write(body)
}

// answerOf is an answer on the wire that promises all of a body and has a part of it.
func answerOf(good *httptest.ResponseRecorder, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", good.Code, http.StatusText(good.Code))
	h := good.Header().Clone()
	h.Set("Content-Length", fmt.Sprint(good.Body.Len()))
	_ = h.Write(&b)
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// hangUp ends the connection after these bytes; with reset so that the peer's kernel says so.
func hangUp(w http.ResponseWriter, text []byte, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = conn.Write(text)
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// badRegistry stands before the good one of the world.
type badRegistry struct {
	host    string
	stopped chan struct{}

	mu    sync.Mutex
	how   *misbehaviour // nil for none
	which func(*http.Request) bool
	hits  int
}

// count is how many requests it has answered badly.
func (s *badRegistry) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits
}

func newBadRegistry(t *testing.T, good string) *badRegistry {
	t.Helper()
	s := &badRegistry{stopped: make(chan struct{})}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: good})
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		how := s.how
		if how != nil && !s.which(r) {
			how = nil
		}
		if how != nil {
			s.hits++
		}
		s.mu.Unlock()
		if how == nil {
			proxy.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		if r.Method == http.MethodGet {
			proxy.ServeHTTP(answer, r)
		}
		how.do(s, w, r, answer)
	}))
	server.Config.ErrorLog = proxy.ErrorLog
	server.Start()
	s.host = server.Listener.Addr().String()
	t.Cleanup(func() {
		close(s.stopped)
		server.CloseClientConnections()
		server.Close()
	})
	return s
}

func (s *badRegistry) set(how *misbehaviour, which func(*http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how, s.which, s.hits = how, which, 0
}

// wait waits, and reports whether it got to the end before the client or the test did.
func (s *badRegistry) wait(r *http.Request, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
	case <-s.stopped:
	}
	return false
}

// requestsOf are the requests that misbehave.
func requestsOf(r *rand.Rand) (string, func(*http.Request) bool) {
	word := []string{"", "/tags/", "/manifests/", "/blobs/"}[r.IntN(4)]
	n, seen := 1+r.IntN(3), 0
	return fmt.Sprintf("every %d. of %q", n, word), func(req *http.Request) bool {
		if !strings.Contains(req.URL.Path, word) {
			return false
		}
		seen++
		return seen%n == 0
	}
}

// A cache in a registry that does not behave: builds end, are right, and do at worst what they would do without it.
func testRegistryCache(t *testing.T, w *world) {
	bad := newBadRegistry(t, w.Registry)
	went := map[string]int{}
	b := &bench{world: w, ctx: t.Context()}
	names := w.graphs()
	for _, g := range names {
		n := wanted{g, 0}
		w.goldenOf(t, n)
		_, err := w.withRemote(t, b, w.in("first", g), n, w.Registry, true)
		if err != nil {
			t.Fatalf("%s: exporting: %v", n, err)
		}
		// The control: what was exported is used.
		ran, err := w.withRemote(t, b, w.in("second", g), n, w.Registry, false)
		if err != nil || ran != 0 {
			t.Errorf("%s: with a good registry %d steps ran: %v", n, ran, err)
		}
	}
	began := time.Now()
	longest := time.Duration(0)
	for i := 0; budget(t, began, i); i++ {
		r := chance(1 + i)
		n := wanted{names[r.IntN(len(names))], 0}
		how := &misbehaviours[r.IntN(len(misbehaviours))]
		if *soak {
			if i == 40*len(misbehaviours)*len(names) {
				break
			}
			if i%100 == 0 {
				t.Logf("%d: %v in %v", i, went, time.Since(began).Round(time.Second))
			}
			n.Graph, how = names[i%len(names)], &misbehaviours[i/len(names)%len(misbehaviours)]
		}
		requests, which := requestsOf(r)
		bad.set(how, which)
		dir, export := w.in("third", fmt.Sprint(i)), r.IntN(3) == 0
		since := time.Now()
		ran, err := w.withRemote(t, b, dir, n, bad.host, export)
		hits := bad.count()
		what := fmt.Sprintf("sample %d of seed %d: %s, %s for %s, export %t, %d requests hit", i, *seed, n, how.name, requests, export, hits)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		longest = max(longest, time.Since(since))
		switch {
		case hits == 0:
			went["not asked"]++
		case ran == 0:
			went["used all the same"]++
		default:
			went["as if uncached"]++
		}
		// What it has kept is good: the same without the registry.
		digest := ""
		err = w.within(t, *hang, what+": afterwards", func() (err error) {
			digest, _, err = b.build(dir, n, nil)
			return err
		})
		if err != nil || digest != w.goldenOf(t, n) {
			t.Errorf("%s: afterwards %s, %v", what, digest, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%v in %v, none longer than %v", went, time.Since(began).Round(time.Second), longest)
}

// withRemote builds with a cache in a registry, and exports to it. An export that fails is no error here.
func (w *world) withRemote(t *testing.T, b *bench, dir string, n wanted, host string, export bool) (ran int, err error) {
	t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, *hang)
	defer stop()
	timeout := time.Second
	if host == w.Registry {
		timeout = *hang // what is good answers, however slow the machine is
	}
	far, err := remote.Registry(host+"/cache:"+n.Graph, remote.Options{
		Timeout: timeout, TempDir: w.in("tmp"),
		Client: registry.NewClient(registry.Options{Timeout: timeout, Retries: 1, Backoff: time.Millisecond}),
	})
	if err != nil {
		return 0, err
	}
	target, o, err := b.find(n)
	if err != nil {
		return 0, err
	}
	o.CacheDir, o.CacheFrom = dir, []cache.Store{far}
	if export {
		o.CacheTo = []stagewright.CacheExport{{Store: far, Mode: local.CacheMax, IgnoreError: true}}
	}
	o.Sinks = append(o.Sinks, everyByte{})
	err = w.within(t, 2**hang, n.String()+" with a cache in "+host, func() error {
		res, err := stagewright.Build(ctx, target, o)
		if err != nil {
			return errors.Join(err, far.Close())
		}
		ran = res.Report().Ran()
		digest, err := res.Digest()
		if golden := w.golden[n]; err == nil && digest != golden {
			err = fmt.Errorf("%w: %s; golden %s", errWrong, digest, golden)
		}
		return errors.Join(err, res.Close(), far.Close())
	})
	return ran, err
}
