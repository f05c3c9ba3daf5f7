package registry

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

func TestReasons(t *testing.T) {
	for _, c := range []struct {
		op, ref string
		status  int
		want    error
		advice  string
	}{
		{"resolve", "alpine:9", http.StatusNotFound, ErrNotFound, "docker.io has no such repository or tag"},
		{"resolve", "ghcr.io/x/y", http.StatusNotFound, ErrNotFound, "write docker.io/… in front"},
		{"push", "ghcr.io/x/y", http.StatusNotFound, ErrNotFound, "create it there"},
		{"push", "x/y", http.StatusForbidden, ErrUnauthorized, "docker login docker.io"},
		{"resolve", "alpine", http.StatusTooManyRequests, ErrRateLimited, "for a higher limit"},
	} {
		r, err := name.ParseReference(c.ref)
		if err != nil {
			t.Fatal(err)
		}
		err = newError(context.Background(), c.op, r, &transport.Error{StatusCode: c.status})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.advice) || !strings.HasPrefix(err.Error(), c.op+" ") {
			t.Errorf("%s %s, status %d: %v", c.op, c.ref, c.status, err)
		}
		if strings.Contains(err.Error(), "index.docker.io") {
			t.Errorf("Docker Hub by a name that nobody writes: %v", err)
		}
		if again := newError(context.Background(), "push", r, err); again != err {
			t.Errorf("wrapped twice: %v", again)
		}
	}
	r, _ := name.ParseReference("alpine")
	if err := newError(context.Background(), "push", r, &transport.Error{StatusCode: http.StatusInternalServerError}); err.(*Error).Reason != nil {
		t.Errorf("a reason for a status that has none: %v", err)
	}
}

func TestErrorIsPrintable(t *testing.T) {
	err := &Error{Op: "push", Ref: "app:1", Err: &transport.Error{StatusCode: 403, Errors: []transport.Diagnostic{{Code: "DENIED", Message: "tag is \x1b[31mfixed\u009b\r\nfor ever"}}}}
	if got := err.Error(); strings.ContainsAny(got, "\x1b\u009b\r") || !strings.Contains(got, `tag is \x1b[31mfixed\u009b\r`+"\nfor ever") {
		t.Errorf("%q", got)
	}
}

func TestAdviceForScheme(t *testing.T) {
	err := Push("https://registry.example.com/app:1").(interface{ Check() error }).Check()
	if !errors.Is(err, ErrBadReference) || !strings.Contains(err.Error(), "without a scheme") {
		t.Errorf("%v", err)
	}
}

func TestZeroOptionsHaveDefaults(t *testing.T) {
	for _, o := range []Options{{}, {Timeout: -1, Jobs: -1, Backoff: -1}} {
		if r := o.retries(); o.jobs() != 8 || r.count != DefaultRetries || r.first != DefaultBackoff {
			t.Errorf("%+v: %d jobs, %+v", o, o.jobs(), r)
		}
	}
	if r := (Options{Retries: -1}).retries(); r.wait(t.Context(), 1, 0) {
		t.Error("a retry where there are none")
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "localhost:5000": true, "[::1]:5000": true, "127.0.0.1:5000": true,
		"localhost.example.com": false, "127.0.0.1.example.com": false, "10.0.0.1": false, "0.0.0.0": false, "": false, "127.1": false,
	} {
		if got := isLoopback(hostname(host)); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}

func TestSameHost(t *testing.T) {
	for _, c := range []struct {
		at, host string
		want     bool
	}{
		{"https://r.example.com/v2/", "r.example.com", true},
		{"https://r.example.com/v2/", "r.example.com:443", true},
		{"https://R.example.com:443/v2/", "r.example.com", true},
		{"http://127.0.0.1/v2/", "127.0.0.1:80", true},
		{"https://r.example.com:80/v2/", "r.example.com", false},
		{"https://r.example.com:5000/v2/", "r.example.com", false},
		{"https://r.example.com.evil.com/v2/", "r.example.com", false},
		{"https://evil.com/r.example.com", "r.example.com", false},
		{"https://[::1]/v2/", "[::1]:443", true},
	} {
		u, err := url.Parse(c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := sameHost(u, c.host); got != c.want {
			t.Errorf("%s at %s: %t", c.at, c.host, got)
		}
	}
}

// TestHops: to where a registry may send its client.
func TestHops(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"https://r.example.com", "https://cdn.example.net/x", true},
		{"https://r.example.com", "https://r.example.com:8443/x", true},
		{"https://r.example.com", "https://169.254.169.254/latest/meta-data", false},
		{"https://r.example.com", "https://10.0.0.1/x", false},
		{"https://r.example.com", "https://[fe80::1]/x", false},
		{"https://r.example.com", "https://localhost/x", false},
		{"https://r.example.com", "https://127.0.0.1:5000/x", false},
		{"https://r.example.com", "https://0.0.0.0/x", false},
		{"https://10.0.0.1:5000", "https://10.0.0.1/x", true},
		{"http://localhost:5000", "http://127.0.0.1:9000/x", true},
	} {
		from, _ := url.Parse(c.from)
		to, _ := url.Parse(c.to)
		if err := checkHop(from, to); (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		}
	}
}
