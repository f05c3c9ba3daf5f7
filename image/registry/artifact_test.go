package registry_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
)

// TestArtifactCopies: an index goes from one registry to another byte for byte, and what is asked for is read when it is.
func TestArtifactCopies(t *testing.T) {
	from, to := serve(t), serve(t)
	var opens imagetest.Opens
	x := imagetest.Index(t, &opens, "text")
	c := client()
	imagetest.Write(t, c.Push(from.host+"/app:1"), image.Artifact{Index: x})
	from.take()
	a, err := c.Artifact(t.Context(), from.host+"/app:1")
	if err != nil || a.Index == nil || len(from.take()) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	imagetest.Write(t, c.Push(to.host+"/copy:1", "2"), a)
	got, err := c.Artifact(t.Context(), to.host+"/copy:2")
	if err != nil {
		t.Fatal(err)
	}
	want, _ := x.Digest()
	if digest, _ := got.Digest(); digest != want {
		t.Errorf("the copy is %s, want %s", digest, want)
	}
	if err := validate.Index(got.Index); err != nil {
		t.Error(err)
	}
	// Unchanged, the copy asks the source for nothing but the index.
	from.take()
	to.take()
	again, err := client().Artifact(t.Context(), from.host+"/app:1")
	if err != nil {
		t.Fatal(err)
	}
	imagetest.Write(t, client().Push(to.host+"/copy:1"), again)
	if source, target := from.take(), to.take(); len(source) != 2 || len(target) != 2 {
		t.Errorf("asked the source %q and the target %q", source, target)
	}
	one, err := c.Artifact(t.Context(), from.host+"/app@"+mustDigest(t, x, 0))
	if err != nil || one.Image == nil {
		t.Errorf("a child: %+v, %v", one, err)
	}
	for ref, want := range map[string]error{from.host + "/none": registry.ErrNotFound, "Bad Name": registry.ErrBadReference} {
		if _, err := c.Artifact(t.Context(), ref); !errors.Is(err, want) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func mustDigest(t *testing.T, x v1.ImageIndex, n int) string {
	t.Helper()
	m, err := x.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return m.Manifests[n].Digest.String()
}

// TestPushOneChildOfTwo: of an index whose name is there, only the child that is new is looked at closely.
func TestPushOneChildOfTwo(t *testing.T) {
	s := serve(t)
	var opens imagetest.Opens
	child := func(arch, text string) image.Child {
		return image.Child{Image: imagetest.ImageFor(t, &opens, text, "linux", arch)}
	}
	push := func(children ...image.Child) image.Delivery {
		t.Helper()
		x, err := image.NewIndex(children, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := image.Deliver(t.Context(), registry.PushWith(s.host+"/app:1", anonymous()), image.Artifact{Index: x}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	push(child("amd64", "old"), child("arm64", "same"))
	s.take()
	d := push(child("amd64", "new"), child("arm64", "same"))
	requests := s.take()
	if d.Blobs != 4 || d.Skipped != 1 || count(requests, "HEAD /v2/app/blobs/") != 2 || count(requests, "HEAD /v2/app/manifests/sha256:") != 2 {
		t.Errorf("%+v with %q", d, requests)
	}
	if _, err := client().Resolve(t.Context(), s.host+"/app:1", platform.MustParse("linux/arm64")); err != nil {
		t.Error(err)
	}
}

// TestUploadElsewhere: a registry has blobs uploaded to another host, which gets no credentials; one at an address of a private network it
// may not name.
func TestUploadElsewhere(t *testing.T) {
	s, store := serve(t), serve(t)
	auth := withAuth("user", "secret")
	hosts := map[string]string{"storage": store.host}
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if auth(w, r) {
			return true
		}
		switch {
		case r.Method == http.MethodPost:
			w.Header().Set("Location", "http://"+hosts["storage"]+"/signed/upload?signature=s3cret")
			w.WriteHeader(http.StatusAccepted)
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/"):
			w.WriteHeader(http.StatusCreated)
		default:
			return false
		}
		return true
	})
	store.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		io.Copy(io.Discard, r.Body)
		if r.Header.Get("Authorization") != "" || r.URL.Query().Get("signature") != "s3cret" || r.URL.Query().Get("digest") == "" {
			w.WriteHeader(http.StatusTeapot)
			return true
		}
		w.WriteHeader(http.StatusCreated)
		return true
	})
	var opens imagetest.Opens
	sink := registry.PushWith(s.host+"/app:1", registry.Options{Keychain: &keychain{user: "user", password: "secret"}})
	imagetest.Write(t, sink, image.Artifact{Image: imagetest.Image(t, &opens, "text")})
	if n := count(store.take(), "PUT /signed/upload"); n != 2 {
		t.Errorf("%d blobs were sent there", n)
	}
	down := serve(t)
	hosts["storage"] = down.host
	down.intercept(func(w http.ResponseWriter, r *http.Request) bool { reset(w); return true })
	o := registry.Options{Keychain: &keychain{user: "user", password: "secret"}, Retries: -1}
	err := registry.PushWith(s.host+"/app:1", o).Write(t.Context(), image.Artifact{Image: imagetest.Image(t, &opens, "text")})
	if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), down.host) {
		t.Errorf("error %v", err)
	}
}
