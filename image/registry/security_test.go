package registry_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
)

func TestCredentials(t *testing.T) {
	s, img := pushed(t)
	s.intercept(withAuth("user", "secret"))
	for name, c := range map[string]struct {
		k     *keychain
		want  error
		tried string
	}{
		"right": {&keychain{user: "user", password: "secret"}, nil, ""},
		"wrong": {&keychain{user: "user", password: "guess"}, registry.ErrUnauthorized, "the keychain's entry for " + s.host + ` was tried: user "user"`},
		"none":  {&keychain{}, registry.ErrUnauthorized, "the keychain has no entry for " + s.host},
	} {
		o := registry.Options{Keychain: c.k}
		_, err := registry.NewClient(o).Resolve(t.Context(), s.host+"/app:1.0", amd64)
		err2 := registry.PushWith(s.host+"/app:2.0", o).Write(t.Context(), image.Artifact{Image: img})
		for _, err := range []error{err, err2} {
			if !errors.Is(err, c.want) || c.want != nil && !(strings.Contains(err.Error(), "docker login "+s.host) && strings.Contains(err.Error(), c.tried)) {
				t.Errorf("%s: error %v, want %v", name, err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "guess") {
				t.Errorf("%s: the password is in the message: %v", name, err)
			}
		}
		for _, asked := range c.k.asked {
			if asked != s.host {
				t.Errorf("%s: the keychain was asked for %s", name, asked)
			}
		}
	}
}

// TestWhoWasLoggedIn: for each kind of credentials, a message says which were tried, and has nothing secret.
func TestWhoWasLoggedIn(t *testing.T) {
	s := serve(t)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, s.host))
		}
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"go away"}]}`)
		return true
	})
	for want, config := range map[string]authn.AuthConfig{
		`user "bob"`:        {Username: "bob", Password: "s3cret"},
		`user "robot"`:      {Auth: base64.StdEncoding.EncodeToString([]byte("robot:s3cret"))},
		"a registry token":  {RegistryToken: "s3cret"},
		"an identity token": {IdentityToken: "s3cret", Username: "<token>"},
	} {
		o := registry.Options{Keychain: oneLogin{config}}
		var opens imagetest.Opens
		for _, err := range []error{
			registry.PushWith(s.host+"/app", o).Write(t.Context(), image.Artifact{Image: imagetest.Image(t, &opens, "a")}),
			func() error { _, err := registry.NewClient(o).Resolve(t.Context(), s.host+"/app", amd64); return err }(),
		} {
			var re *registry.Error
			if !errors.As(err, &re) || re.Login != want || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "go away") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: error %v", want, err)
			}
		}
	}
}

type oneLogin struct{ config authn.AuthConfig }

func (k oneLogin) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(k.config), nil
}

// TestCredentialsFollowNoRedirect: a registry sends the reader of a layer elsewhere, as those in clouds do.
func TestCredentialsFollowNoRedirect(t *testing.T) {
	s, img := pushed(t)
	elsewhere := serve(t)
	m, _ := img.Manifest()
	h := m.Layers[0].Digest.String()
	layers, _ := img.Layers()
	auth := withAuth("user", "secret")
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if auth(w, r) {
			return true
		}
		if strings.HasSuffix(r.URL.Path, h) {
			http.Redirect(w, r, "http://"+elsewhere.host+"/signed?layer", http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	elsewhere.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		rc, err := layers[0].Compressed()
		if err != nil {
			t.Error(err)
			return true
		}
		io.Copy(w, rc)
		return true
	})
	k := &keychain{user: "user", password: "secret"}
	got, err := registry.NewClient(registry.Options{Keychain: k}).Resolve(t.Context(), s.host+"/app:1.0", amd64)
	if err != nil {
		t.Fatal(err)
	}
	pulled, _ := got.Image.Layers()
	rc, err := pulled[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if _, err := io.Copy(io.Discard, rc); err != nil {
		t.Fatal(err)
	}
	if len(elsewhere.headers) != 1 {
		t.Errorf("%d requests went elsewhere", len(elsewhere.headers))
	}
	for _, header := range elsewhere.headers {
		if header.Get("Authorization") != "" {
			t.Errorf("credentials went elsewhere: %q", header)
		}
	}
}

// wire is a network on which every request is seen and any name is a host. It answers like a registry without images that
// wants a password.
type wire struct {
	mu   sync.Mutex
	sent []string // "scheme://host with or without credentials"
	down string   // a scheme that nobody answers
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := r.URL.Scheme + "://" + r.URL.Host
	if r.Header.Get("Authorization") != "" {
		line += " with credentials"
	}
	w.sent = append(w.sent, line)
	if r.URL.Scheme == w.down {
		return nil, errors.New("connection refused")
	}
	header := http.Header{"Www-Authenticate": {`Basic realm="x"`}}
	status := http.StatusUnauthorized
	if r.Header.Get("Authorization") != "" {
		status, header = http.StatusNotFound, http.Header{}
	}
	return &http.Response{
		StatusCode: status, Header: header, Body: http.NoBody, Request: r, ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// TestPlainHTTP: for which hosts plain http is spoken, and that a password is never sent over it.
func TestPlainHTTP(t *testing.T) {
	for name, c := range map[string]struct {
		ref      string
		insecure []string
		password bool
		want     error
		plain    bool // plain http may be seen on the wire
	}{
		"public host":                        {"registry.example.com/app", nil, false, registry.ErrUnreachable, false},
		"public host with a password":        {"registry.example.com/app", nil, true, registry.ErrUnreachable, false},
		"private address":                    {"10.1.2.3:5000/app", nil, false, registry.ErrPlainHTTP, false},
		"local name":                         {"registry.local:5000/app", nil, true, registry.ErrUnreachable, false},
		"name that only looks like loopback": {"localhost.example.com:5000/app", nil, true, registry.ErrUnreachable, false},
		"listed":                             {"registry.lan:5000/app", []string{"registry.lan:5000"}, false, registry.ErrUnauthorized, true},
		"listed, with a password":            {"registry.lan:5000/app", []string{"registry.lan:5000"}, true, registry.ErrPlainHTTP, true},
		"another port than the listed":       {"registry.lan:5001/app", []string{"registry.lan:5000"}, false, registry.ErrUnreachable, false},
		"loopback":                           {"127.0.0.2:5000/app", nil, true, registry.ErrNotFound, true},
		"loopback, version 6":                {"[::1]:5000/app", nil, true, registry.ErrNotFound, true},
		"localhost":                          {"localhost:5000/app", nil, true, registry.ErrNotFound, true},
	} {
		w := &wire{down: "https"}
		k := &keychain{}
		if c.password {
			k.user, k.password = "user", "secret"
		}
		o := registry.Options{Keychain: k, Transport: w, Insecure: c.insecure}
		_, err := registry.NewClient(o).Resolve(t.Context(), c.ref, amd64)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
		for _, line := range w.sent {
			if strings.HasPrefix(line, "http://") && !c.plain {
				t.Errorf("%s: on the wire: %s", name, line)
			}
			if strings.HasPrefix(line, "http://") && strings.HasSuffix(line, "credentials") && c.want != registry.ErrNotFound {
				t.Errorf("%s: a password in the clear: %s", name, line)
			}
		}
		if len(w.sent) == 0 {
			t.Errorf("%s: nothing was sent", name)
		}
	}
}

// TestRedirects: a registry over https cannot send the client on to plain http, nor round in circles.
func TestRedirects(t *testing.T) {
	for to, want := range map[string]string{
		"http://cdn.example.net/v2/app/manifests/x":           "plain http refused: cdn.example.net",
		"https://registry.example.com/v2/app/manifests/again": "redirects more than 10 times",
	} {
		var sent []string
		var mu sync.Mutex
		o := anonymous()
		o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, r.URL.String())
			res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r, ProtoMajor: 1, ProtoMinor: 1}
			if strings.Contains(r.URL.Path, "/manifests/") {
				res.StatusCode = http.StatusTemporaryRedirect
				res.Header.Set("Location", to)
			}
			return res, nil
		})
		_, err := registry.NewClient(o).Resolve(t.Context(), "registry.example.com/app", amd64)
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("%s: error %v, want %q", to, err, want)
		}
		if len(sent) > 12 {
			t.Errorf("%s: %d requests were sent", to, len(sent))
		}
		for _, u := range sent {
			if strings.HasPrefix(u, "http://") {
				t.Errorf("sent %s", u)
			}
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestLargeAnswers: an answer that never ends is given up by its size, whatever it is the answer to; a layer is not an answer.
func TestLargeAnswers(t *testing.T) {
	s := serve(t)
	var opens imagetest.Opens
	img := imagetest.Big(t, &opens, 5<<20) // larger than any manifest may be
	sink := registry.PushWith(s.host+"/big", anonymous())
	imagetest.Write(t, sink, image.Artifact{Image: img})
	got, err := client().Resolve(t.Context(), s.host+"/big", amd64)
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := got.Image.Layers()
	rc, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, rc); err != nil || n != 5<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	rc.Close()
	again := imagetest.Make(t, image.Spec{Base: img, File: imagetest.File("linux", "arm64")}) // asks whether the 5 MB are there
	imagetest.Write(t, sink, image.Artifact{Image: again})
	if opens.Load() != 1 {
		t.Errorf("the layer was opened %d times", opens.Load())
	}

	endless := func(w http.ResponseWriter, r *http.Request) bool {
		zeros := make([]byte, 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(zeros); err != nil {
				break
			}
		}
		return true
	}
	s.intercept(endless)
	if _, err := client().Resolve(t.Context(), s.host+"/big", amd64); err == nil {
		t.Error("an endless answer to everything gave an image")
	}
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/manifests/") && endless(w, r)
	})
	if _, err := client().Resolve(t.Context(), s.host+"/big", amd64); err == nil || errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("an endless manifest: %v", err)
	}
}
