package remote_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	fake "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/remote"
	"github.com/stagewright/stagewright/image/registry"
)

// server is a registry in memory that keeps a list of what it is asked.
type server struct {
	host  string
	inner http.Handler

	mu       sync.Mutex
	requests []string
	hook     func(w http.ResponseWriter, r *http.Request) bool
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{inner: fake.New(fake.Logger(log.New(io.Discard, "", 0)))}
	ts := httptest.NewServer(s)
	t.Cleanup(ts.Close)
	s.host = strings.TrimPrefix(ts.URL, "http://")
	return s
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+short(r.URL.Path))
	hook := s.hook
	s.mu.Unlock()
	if hook == nil || !hook(w, r) {
		s.inner.ServeHTTP(w, r)
	}
}

var variable = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`sha256:[0-9a-f]{64}`), "DIGEST"},
	{regexp.MustCompile(`-([uw])[0-9a-f]{28}`), "-$1"},
	{regexp.MustCompile(`uploads/.+`), "uploads/ID"},
}

// short replaces what is random.
func short(path string) string {
	for _, v := range variable {
		path = v.pattern.ReplaceAllString(path, v.by)
	}
	return path
}

// intercept has every request seen by f, which answers it when it returns true.
func (s *server) intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = f
}

// take returns the requests since the last call, sorted, and forgets them.
func (s *server) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := slices.Sorted(slices.Values(s.requests))
	s.requests = nil
	return got
}

// tags are those of the cache main, without what is random.
func (s *server) tags(t *testing.T) []string {
	t.Helper()
	r, err := client().Repository(s.host + "/cache")
	if err != nil {
		t.Fatal(err)
	}
	tags, err := r.Tags(t.Context(), func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	s.take()
	for n, tag := range tags {
		tags[n] = short(tag)
	}
	slices.Sort(tags)
	return tags
}

// client has no credentials, whoever runs the test, and does not wait long.
func client() *registry.Client {
	return registry.NewClient(registry.Options{Keychain: authn.NewMultiKeychain(), Backoff: time.Millisecond})
}

// options never compact by themselves, and fail the test when something cannot be read.
func options(t *testing.T) remote.Options {
	return remote.Options{
		Client: client(), TempDir: t.TempDir(), CompactAfter: -1,
		Notice: func(err error) { t.Errorf("notice: %v", err) },
	}
}

// store opens the cache main of a registry.
func (s *server) store(t *testing.T, o remote.Options) *remote.Store {
	t.Helper()
	return opened(t)(remote.Registry(s.host+"/cache:main", o))
}

func opened(t *testing.T) func(*remote.Store, error) *remote.Store {
	return func(s *remote.Store, err error) *remote.Store {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
}

func key(n int) cache.Key { return cache.NewKey("remote test", 1).Int("n", int64(n)).Sum() }
