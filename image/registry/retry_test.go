package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	fake "github.com/google/go-containerregistry/pkg/registry"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "Mon, 23 Nov 2026 12:01:30 GMT": 90 * time.Second, "Mon, 23 Nov 2026 11:00:00 GMT": 0,
		"-5": 0, "soon": 0, "99999999999999999999": 0, "1.5": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {v}}, now); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

func TestRetriesEnd(t *testing.T) {
	r := retries{count: 3, first: time.Nanosecond}
	if !r.wait(t.Context(), 3, 0) || r.wait(t.Context(), 4, 0) {
		t.Error("three retries are three")
	}
	if r.wait(t.Context(), 1, maxWait+1) {
		t.Error("it waits for longer than is sensible")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if (retries{count: 1, first: time.Hour}).wait(ctx, 1, 0) {
		t.Error("it waited in vain")
	}
	if !(retries{count: 1 << 30, first: 1}).wait(t.Context(), 100, time.Nanosecond) {
		t.Error("many failures are too many")
	}
}

// TestRetriedRequests: what is asked again, and what the error says when it does not help. The requests are those for a manifest.
func TestRetriedRequests(t *testing.T) {
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if len(header) > 0 {
				w.Header().Set(header[0], header[1])
			}
			w.WriteHeader(code)
			io.WriteString(w, `{"errors":[{"code":"TEST","message":"so it is"}]}`)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		times  int64 // how often it is given
		asked  int64
		want   error
		text   string
	}{
		"503":                     {status(503), 2, 3, nil, ""},
		"429":                     {status(429), 1, 2, nil, ""},
		"429, in a second":        {status(429, "Retry-After", "1"), 1, 2, nil, ""},
		"429, for ever":           {status(429), 99, 4, ErrRateLimited, "so it is"},
		"429, in three hours":     {status(429, "Retry-After", "10800"), 99, 1, ErrRateLimited, "or wait for the 3h0m0s that it asks for (Retry-After)"},
		"500, for ever":           {status(500), 99, 4, nil, "so it is"},
		"501":                     {status(501), 99, 1, nil, "so it is"},
		"403":                     {status(403), 99, 1, ErrUnauthorized, "so it is"},
		"a broken stream":         {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 2, 3, nil, ""},
		"a broken stream, always": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 99, 4, ErrUnreachable, "stream"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, 2, 3, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner := fake.New(fake.Logger(log.New(io.Discard, "", 0)))
			var asked atomic.Int64
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") && asked.Add(1) <= c.times {
					c.answer(w, r)
					return
				}
				inner.ServeHTTP(w, r)
			}))
			s.EnableHTTP2 = true
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			defer s.Close()
			host := strings.TrimPrefix(s.URL, "https://")
			const text = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
			put, _ := http.NewRequest(http.MethodPut, s.URL+"/v2/app/manifests/1", strings.NewReader(text))
			put.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			if _, err := s.Client().Do(put); err != nil {
				t.Fatal(err)
			}
			client := NewClient(Options{Transport: s.Client().Transport, Keychain: authn.NewMultiKeychain(), Retries: 3, Backoff: time.Microsecond})
			_, err := client.Artifact(t.Context(), host+"/app:1")
			if asked.Load() != c.asked {
				t.Errorf("asked %d times, want %d (%v)", asked.Load(), c.asked, err)
			}
			if (c.asked > c.times) != (err == nil) || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
}
