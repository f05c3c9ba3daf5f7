package registry_test

import (
	"io"
	"log"
	"net"
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

	"github.com/stagewright/stagewright/image/registry"
)

// server is a registry in memory that keeps a list of what it is asked.
type server struct {
	host  string
	inner http.Handler // the registry itself

	mu       sync.Mutex
	requests []string
	headers  []http.Header // of requests
	hook     func(w http.ResponseWriter, r *http.Request) bool
}

// serve starts a registry at 127.0.0.1, over plain http.
func serve(t *testing.T) *server {
	t.Helper()
	return serveReferrers(t, false)
}

// serveReferrers starts one that lists referrers, or does not.
func serveReferrers(t *testing.T, referrers bool) *server {
	t.Helper()
	s := &server{inner: fake.New(fake.Logger(log.New(io.Discard, "", 0)), fake.WithReferrersSupport(referrers))}
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+short(r.URL.RequestURI()))
		s.headers = append(s.headers, r.Header.Clone())
		hook := s.hook
		s.mu.Unlock()
		if hook == nil || !hook(w, r) {
			s.inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(ts.Close)
	s.host = strings.TrimPrefix(ts.URL, "http://")
	return s
}

var hexPattern = regexp.MustCompile(`([0-9a-f]{6})[0-9a-f]{58}`)

// short clips digests to six digits.
func short(uri string) string { return hexPattern.ReplaceAllString(uri, "$1") }

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
	s.requests, s.headers = nil, nil
	return got
}

// count says how many of requests contain text.
func count(requests []string, text string) (n int) {
	for _, r := range requests {
		if strings.Contains(r, text) {
			n++
		}
	}
	return n
}

// reset breaks the connection of a request.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// client has no credentials, whoever runs the test.
func client() *registry.Client { return registry.NewClient(anonymous()) }

// Retries do not wait long.
func anonymous() registry.Options {
	return registry.Options{Keychain: authn.NewMultiKeychain(), Backoff: time.Millisecond}
}

// withAuth answers 401 to whoever does not send the user and the password.
func withAuth(user, password string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, ok := r.BasicAuth(); ok && u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// keychain gives the same credentials to every host, and remembers for which it was asked.
type keychain struct {
	user, password string

	mu    sync.Mutex
	asked []string
}

func (k *keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, r.RegistryStr())
	return authn.FromConfig(authn.AuthConfig{Username: k.user, Password: k.password}), nil
}
