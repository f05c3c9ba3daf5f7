package registry_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
)

// TestResolveKnown: what a reference names again costs one HEAD, and whatever else is the case what Resolve costs, one HEAD at most added.
func TestResolveKnown(t *testing.T) {
	heads := func(answer func(w http.ResponseWriter, r *http.Request)) func(*server) {
		return func(s *server) {
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodHead {
					answer(w, r)
				}
				return r.Method == http.MethodHead
			})
		}
	}
	hello, head, get := "GET /v2/", "HEAD /v2/app/manifests/1.0", "GET /v2/app/manifests/1.0"
	for name, c := range map[string]struct {
		change  func(*server)           // of the registry, after the first time
		known   func(*registry.Known)   // of what is remembered
		options func(*registry.Options) // of the second client
		want    []string                // requests, sorted
		moved   bool                    // the tag is another image
	}{
		"unchanged": {want: []string{head}},
		"told with an entity tag": {change: heads(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") == "" {
				t.Error("no If-None-Match")
			}
			w.WriteHeader(http.StatusNotModified)
		}), want: []string{head}},
		"how it is spoken to is not known": {known: func(k *registry.Known) { k.Direct = "" }, want: []string{hello, head}},
		"nonsense is known":                {known: func(k *registry.Known) { k.Direct = "gopher" }, want: []string{hello, head}},
		"nothing is known":                 {known: func(k *registry.Known) { *k = registry.Known{} }, want: []string{hello, get}},
		"no digest is known":               {known: func(k *registry.Known) { k.Ref = "app:1.0" }, want: []string{hello, get}},
		"moved":                            {change: func(s *server) { s.push(t, "other") }, want: []string{get, "GET /v2/app/blobs/sha256:CONFIG", head}, moved: true},
		"the document is lost":             {options: func(o *registry.Options) { o.Documents = keptDocuments{} }, want: []string{hello, get, "GET /v2/app/blobs/sha256:CONFIG"}},
		"no documents":                     {options: func(o *registry.Options) { o.Documents = nil }, want: []string{hello, get, "GET /v2/app/blobs/sha256:CONFIG"}},
		"an answer without a digest":       {change: heads(func(w http.ResponseWriter, r *http.Request) {}), want: []string{get, head}},
		"HEAD is refused":                  {change: heads(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) }), want: []string{hello, get, head}},
		"HEAD is an error":                 {change: heads(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) }), want: []string{hello, get, head}},
		"HEAD is cut off": {change: heads(func(w http.ResponseWriter, r *http.Request) { reset(w) }),
			options: func(o *registry.Options) { // one that is used again is tried again by net/http
				t := remote.DefaultTransport.(*http.Transport).Clone()
				t.DisableKeepAlives = true
				o.Transport = t
			}, want: []string{hello, get, head}},
		"wants a login meanwhile": {change: func(s *server) { s.intercept(withAuth("me", "secret")) },
			options: func(o *registry.Options) { o.Keychain = &keychain{user: "me", password: "secret"} }, want: []string{hello, head, head}},
		"a mirror that has it": {options: func(o *registry.Options) { o.Mirrors = map[string][]string{"HOST": {"HOST"}} }, want: []string{hello, get}},
	} {
		t.Run(name, func(t *testing.T) {
			s, img := pushed(t)
			o := anonymous()
			o.Documents = keptDocuments{}
			first, err := registry.NewClient(o).Resolve(t.Context(), s.host+"/app:1.0", amd64)
			if err != nil || first.Direct != "http" {
				t.Fatalf("%q, %v", first.Direct, err)
			}
			if c.change != nil {
				c.change(s)
			}
			s.take()
			known := registry.Known{Ref: first.Ref, Direct: first.Direct}
			if c.known != nil {
				c.known(&known)
			}
			if c.options != nil {
				c.options(&o)
			}
			if _, ok := o.Mirrors["HOST"]; ok {
				o.Mirrors = map[string][]string{s.host: {s.host}}
			}
			got, err := registry.NewClient(o).ResolveKnown(t.Context(), s.host+"/app:1.0", known, amd64)
			if err != nil {
				t.Fatal(err)
			}
			requests := s.take()
			for i, r := range requests {
				if strings.HasPrefix(r, "GET /v2/app/blobs/") {
					requests[i] = "GET /v2/app/blobs/sha256:CONFIG"
				}
			}
			slices.Sort(c.want)
			if slices.Sort(requests); !slices.Equal(requests, c.want) {
				t.Errorf("asked %q, want %q", requests, c.want)
			}
			if same := got.Ref == first.Ref && got.Digest == first.Digest; same == c.moved || got.Platform != first.Platform {
				t.Errorf("%+v, was %+v", got, first)
			}
			if was, err := img.Digest(); err != nil || (got.Digest == was) == c.moved {
				t.Errorf("the image is %v, was %v, %v", got.Digest, was, err)
			}
		})
	}
}

// TestResolveKnownOfOneThatWantsALogin: what is spoken without a login is not remembered of a registry that wants one, and its token is not asked for by what is remembered.
func TestResolveKnownOfOneThatWantsALogin(t *testing.T) {
	s, _ := pushed(t)
	s.intercept(withAuth("me", "secret"))
	o := anonymous()
	o.Documents, o.Keychain = keptDocuments{}, &keychain{user: "me", password: "secret"}
	first, err := registry.NewClient(o).Resolve(t.Context(), s.host+"/app:1.0", amd64)
	if err != nil || first.Direct != "" {
		t.Fatalf("%q, %v", first.Direct, err)
	}
	s.take()
	if _, err := registry.NewClient(o).ResolveKnown(t.Context(), s.host+"/app:1.0", registry.Known{Ref: first.Ref}, amd64); err != nil {
		t.Fatal(err)
	}
	if got, want := s.take(), []string{"GET /v2/", "HEAD /v2/app/manifests/1.0"}; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// TestResolveKnownOverTLS: a registry that spoke plain http, and now speaks TLS at the same address, is spoken to in TLS; and the other way round.
func TestResolveKnownOverTLS(t *testing.T) {
	s, _ := pushed(t)
	secure := httptest.NewUnstartedServer(s.inner)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	defer transport.CloseIdleConnections()
	at := map[string]string{"https": strings.TrimPrefix(secure.URL, "https://"), "http": s.host}
	for is, host := range at {
		for was := range at {
			o := anonymous()
			o.Documents, o.Transport = keptDocuments{}, transport
			first, err := registry.NewClient(o).Resolve(t.Context(), host+"/app:1.0", amd64)
			if err != nil || first.Direct != is {
				t.Fatalf("%s: %q, %v", is, first.Direct, err)
			}
			got, err := registry.NewClient(o).ResolveKnown(t.Context(), host+"/app:1.0", registry.Known{Ref: first.Ref, Direct: was}, amd64)
			if err != nil || got.Direct != is || got.Ref != first.Ref {
				t.Errorf("was %s, is %s: %q, %v", was, is, got.Direct, err)
			}
		}
	}
}

// TestResolveKnownNeverStaysPlain: only a loopback host is asked over plain http because it once was.
func TestResolveKnownNeverStaysPlain(t *testing.T) {
	s, _ := pushed(t)
	var encrypted atomic.Int64
	o := anonymous()
	o.Insecure, o.Documents = []string{"registry.lan:5000"}, keptDocuments{}
	o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme == "https" {
			encrypted.Add(1)
			return nil, io.EOF
		}
		r = r.Clone(r.Context())
		r.URL.Host = s.host
		return http.DefaultTransport.RoundTrip(r)
	})
	first, err := registry.NewClient(o).Resolve(t.Context(), "registry.lan:5000/app:1.0", amd64)
	if err != nil || first.Direct != "http" {
		t.Fatalf("%q, %v", first.Direct, err)
	}
	encrypted.Store(0)
	if _, err := registry.NewClient(o).ResolveKnown(t.Context(), "registry.lan:5000/app:1.0", registry.Known{Ref: first.Ref, Direct: "http"}, amd64); err != nil {
		t.Fatal(err)
	}
	if encrypted.Load() == 0 {
		t.Error("TLS was not tried")
	}
}

// push puts another image under app:1.0.
func (s *server) push(t *testing.T, text string) {
	t.Helper()
	var opens imagetest.Opens
	imagetest.Write(t, registry.PushWith(s.host+"/app:1.0", anonymous()), image.Artifact{Image: imagetest.Image(t, &opens, text)})
}
