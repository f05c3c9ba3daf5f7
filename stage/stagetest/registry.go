package stagetest

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// RegistryServer is a registry in the memory of the test process. It listens on a loopback address with plain http, which docker,
// skopeo, podman and everything else that speaks the OCI distribution protocol can use ("skopeo copy --dest-tls-verify=false").
// Blobs belong to repositories and can be mounted, ranges of them read; manifests with a subject are found by the referrers API.
// It is stopped when the test ends.
//
// Its methods may be called by several goroutines at once.
type RegistryServer struct {
	*server
	tb testing.TB
}

// server is the registry, whichever test uses it.
type server struct {
	host    string
	storage http.Handler  // answers as a registry should
	stopped chan struct{} // closed when the test ends: nobody waits on

	mu       sync.Mutex
	quirks   behaviour
	requests []*Request
}

// Registry starts a registry, which behaves well but for the quirks.
func Registry(tb testing.TB, quirks ...Quirk) *RegistryServer {
	tb.Helper()
	s := &RegistryServer{&server{storage: newStorage(), stopped: make(chan struct{})}, tb}
	s.Set(quirks...)
	listener := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	listener.Config.ErrorLog = log.New(io.Discard, "", 0) // what clients do wrong is in Requests
	listener.Start()
	s.host = listener.Listener.Addr().String()
	tb.Cleanup(func() {
		close(s.stopped)
		listener.Close()
	})
	return s
}

// In returns the same registry for a subtest, which then is the one that fails when a Push or a Pull does.
func (s *RegistryServer) In(tb testing.TB) *RegistryServer { return &RegistryServer{s.server, tb} }

// Host returns the registry's "host:port".
func (s *RegistryServer) Host() string { return s.host }

// Ref returns the full name of an image in the registry: Ref("app:1") is "127.0.0.1:41234/app:1".
func (s *RegistryServer) Ref(name string) string { return s.host + "/" + name }

// Set puts other quirks in the place of those that the registry has, and begins to count for them anew. Without an argument it
// behaves well from now on.
func (s *RegistryServer) Set(quirks ...Quirk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quirks = behaviour{}
	for _, q := range quirks {
		q(&s.quirks)
	}
}

// Push builds a stage, as [Image] does, and puts it into the registry: Push("app:1", s). That is not in Requests, and no quirk
// hinders it.
func (s *RegistryServer) Push(name string, target stage.Stage) *Built {
	s.tb.Helper()
	return s.PushWith(name, target, stagewright.Options{})
}

// PushWith is Push with options for the build: several platforms, a context. The registry is one more sink.
func (s *RegistryServer) PushWith(name string, target stage.Stage, o stagewright.Options) *Built {
	s.tb.Helper()
	o.Sinks = append(o.Sinks[:len(o.Sinks):len(o.Sinks)], registry.PushWith(s.Ref(name), s.direct()))
	return ImageWith(s.tb, target, o)
}

// Pull returns Checks of an image in the registry, of an index those of the image for this machine. That is not in Requests, and
// no quirk hinders it. When there is no such image, the test ends.
func (s *RegistryServer) Pull(name string) *Checks {
	s.tb.Helper()
	return s.pull(name, platform.Platform{})
}

// PullFor is Pull for a platform, "linux/arm64".
func (s *RegistryServer) PullFor(name, p string) *Checks {
	s.tb.Helper()
	want, err := platform.Parse(p)
	if err != nil {
		s.tb.Fatalf("stagetest: %v", err)
	}
	return s.pull(name, want)
}

func (s *RegistryServer) pull(name string, p platform.Platform) *Checks {
	s.tb.Helper()
	found, err := registry.NewClient(s.direct()).Resolve(s.tb.Context(), s.Ref(name), p)
	if err != nil {
		s.tb.Fatalf("stagetest: %v", err)
	}
	return Check(s.tb, found.Image)
}

// PushArtifact is Push for an image or an index that is finished.
func (s *RegistryServer) PushArtifact(name string, a image.Artifact) {
	s.tb.Helper()
	if err := registry.PushWith(s.Ref(name), s.direct()).Write(s.tb.Context(), a); err != nil {
		s.tb.Fatalf("stagetest: %v", err)
	}
}

// direct reaches the storage past the network, the log and the quirks.
func (s *RegistryServer) direct() registry.Options {
	return registry.Options{Transport: inProcess{s.storage}}
}

// inProcess answers requests with a handler.
type inProcess struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	in.URL.Scheme, in.URL.Host = "", "" // as a server sees it
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, in)
	if r.Body != nil {
		r.Body.Close()
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// newStorage is go-containerregistry's registry in memory, with what it lacks in front: mounts, blobs that belong to
// repositories, ranges without an end, the header that says that a subject was understood, and the types of artifacts.
func newStorage() http.Handler {
	blobs := &blobs{repos: map[string]map[string][]byte{}}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)), ggcr.WithBlobHandler(blobs), ggcr.WithReferrersSupport(true))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := parse(r)
		r = r.WithContext(withRepo(r.Context(), t.repo))
		switch {
		case t.kind == uploads && r.Method == http.MethodPost && blobs.mount(w, r, t):
		case t.kind == blob && (r.Method == http.MethodGet || r.Method == http.MethodHead) && blobs.serve(w, r, t):
		case t.kind == manifest && r.Method == http.MethodPut:
			if acknowledgeSubject(w, r) {
				inner.ServeHTTP(w, r)
			}
		case t.kind == referrers && r.Method == http.MethodGet:
			serveReferrers(w, r, t, inner)
		default:
			inner.ServeHTTP(w, r)
		}
	})
}

// target is what a request is about: "/v2/<repo>/<kind>/<last>".
type target struct{ repo, kind, last string }

const (
	blob      = "blobs"
	manifest  = "manifests"
	referrers = "referrers"
	uploads   = "uploads"
)

func parse(r *http.Request) target {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	for i := len(parts) - 1; i > 1; i-- {
		switch parts[i] {
		case blob, manifest, referrers, "tags":
			t := target{repo: strings.Join(parts[1:i], "/"), kind: parts[i]}
			if i+1 < len(parts) {
				t.last = parts[i+1]
			}
			if t.kind == blob && t.last == uploads {
				t.kind = uploads
			}
			return t
		}
	}
	return target{}
}
