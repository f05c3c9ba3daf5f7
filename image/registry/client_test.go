package registry_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
)

// withTokens has a registry want tokens, which it gives itself to who has the password, or to everybody if that is empty. Each is for
// the scopes that were asked for.
func withTokens(s *server, password string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			if _, p, _ := r.BasicAuth(); p != password {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, strings.Join(r.URL.Query()["scope"], " "))
			return true
		}
		scope, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		repository, action := "", "pull"
		if parts := strings.Split(r.URL.Path, "/"); len(parts) > 4 {
			repository = strings.Join(parts[2:len(parts)-2], "/")
			repository = strings.TrimSuffix(repository, "/blobs")
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			action = "push"
		}
		for _, one := range strings.Fields(scope) {
			parts := strings.Split(one, ":")
			ok = ok && (repository == "" || len(parts) == 3 && parts[1] == repository && strings.Contains(parts[2], action))
			if ok {
				return false
			}
			ok = true
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, s.host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// TestHandshakes: one client asks a host once what it is, and gets one token for each repository and purpose.
func TestHandshakes(t *testing.T) {
	s := serve(t)
	s.intercept(withTokens(s, "secret"))
	o := registry.Options{Keychain: &keychain{user: "user", password: "secret"}}
	var opens imagetest.Opens
	a := image.Artifact{Image: imagetest.Image(t, &opens, "text")}
	imagetest.Write(t, registry.PushWith(s.host+"/app:1.0", o, "1", "latest"), a)
	imagetest.Write(t, registry.PushWith(s.host+"/team/other", o), a)
	s.take()

	c := registry.NewClient(o)
	var all sync.WaitGroup
	for _, sink := range []image.Sink{c.Push(s.host+"/app:1.0", "1"), c.Push(s.host + "/app:latest"), c.Push(s.host + "/team/other")} {
		all.Go(func() {
			if err := sink.Write(t.Context(), a); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	want := []string{
		"GET /token?scope=repository%3Aapp%3Apush%2Cpull&service=test",
		"GET /token?scope=repository%3Ateam%2Fother%3Apush%2Cpull&service=test",
		"GET /v2/",
		"HEAD /v2/app/manifests/1", "HEAD /v2/app/manifests/1.0", "HEAD /v2/app/manifests/latest",
		"HEAD /v2/team/other/manifests/latest",
	}
	if got := s.take(); !slices.Equal(got, want) {
		t.Errorf("requests\n%q\nwant\n%q", got, want)
	}
}

// TestExpiredToken: the token stops working in the middle of a push.
func TestExpiredToken(t *testing.T) {
	s := serve(t)
	auth := withTokens(s, "")
	var mu sync.Mutex
	expired := map[string]bool{}
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		kind := r.Method + " " + short(r.URL.Path)
		if r.URL.Path != "/token" && r.URL.Path != "/v2/" && !expired[kind] {
			expired[kind] = true
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test",scope="repository:app:pull,push"`, s.host))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return auth(w, r)
	})
	var opens imagetest.Opens
	imagetest.Write(t, registry.PushWith(s.host+"/app:1.0", anonymous()), image.Artifact{Image: imagetest.Image(t, &opens, "text")})
	if _, err := client().Resolve(t.Context(), s.host+"/app:1.0", amd64); err != nil {
		t.Error(err)
	}
}

// TestSinksShareUploads: two sinks of one client, at once, to one repository, send each blob once.
func TestSinksShareUploads(t *testing.T) {
	s := serve(t)
	c := client()
	var opens imagetest.Opens
	a := image.Artifact{Image: imagetest.Image(t, &opens, "text")}
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			if err := c.Push(fmt.Sprintf("%s/app:%d", s.host, n)).Write(t.Context(), a); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := count(s.take(), "PUT /v2/app/blobs/"); n != 2 || opens.Load() != 1 {
		t.Errorf("%d blobs were sent, the layer was opened %d times", n, opens.Load())
	}
}

// TestAdopt: a sink of Push has the options of who adopts it, any other its own.
func TestAdopt(t *testing.T) {
	s := serve(t)
	s.intercept(withAuth("user", "secret"))
	c := registry.NewClient(registry.Options{Keychain: &keychain{user: "user", password: "secret"}})
	var opens imagetest.Opens
	a := image.Artifact{Image: imagetest.Image(t, &opens, "text")}
	imagetest.Write(t, c.Adopt(registry.Push(s.host+"/app:1.0", "1")), a)
	if n := count(s.take(), "PUT /v2/app/manifests/"); n != 2 {
		t.Errorf("%d names were put", n)
	}
	other := registry.PushWith(s.host+"/app:1.0", anonymous())
	if c.Adopt(other) != other {
		t.Error("a sink with options lost them")
	}
}

// TestMountTokens: to mount, the token is also for the repository that is mounted from, and an unchanged image needs no such token.
func TestMountTokens(t *testing.T) {
	s := serve(t)
	auth := withTokens(s, "")
	var opens imagetest.Opens
	base := imagetest.Image(t, &opens, "base")
	imagetest.Write(t, registry.PushWith(s.host+"/library/base", anonymous()), image.Artifact{Image: base})
	m, _ := base.Manifest()
	layer := m.Layers[0].Digest.String()
	var mu sync.Mutex
	mounted := 0
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if auth(w, r) {
			return true
		}
		if r.Method == http.MethodHead && r.URL.Path == "/v2/app/blobs/"+layer && mounted == 0 {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		if r.URL.Query().Get("mount") == layer {
			if !strings.Contains(r.Header.Get("Authorization"), "repository:library/base:pull") {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			mounted++
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return false
	})
	c := client()
	opens.Store(0)
	for n := range 2 {
		got, err := c.Resolve(t.Context(), s.host+"/library/base", amd64)
		if err != nil {
			t.Fatal(err)
		}
		img := imagetest.Make(t, image.Spec{
			Base: got.Image, File: imagetest.File("linux", "amd64"),
			Layers: []v1.Layer{imagetest.Layer(t, &opens, map[string]string{"new": "1"})},
		})
		s.take()
		d, err := image.Deliver(t.Context(), c.Push(s.host+"/app:1.0"), image.Artifact{Image: img}, nil)
		if err != nil {
			t.Fatal(err)
		}
		requests := s.take()
		if n == 0 && (d.How != "pushed" || d.Blobs != 3 || d.Skipped != 1 || count(requests, "/v2/library/base/blobs/") != 0) {
			t.Errorf("%+v with %q", d, requests)
		}
		if n == 1 && (d.How != "there already" || len(requests) != 1) {
			t.Errorf("%+v with %q", d, requests)
		}
	}
	if mounted != 1 || opens.Load() != 1 {
		t.Errorf("mounted %d times, opened %d layers", mounted, opens.Load())
	}
}
