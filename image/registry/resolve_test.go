package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
)

var amd64 = platform.MustParse("linux/amd64")

// pushed starts a registry that has the image app:1.0.
func pushed(t *testing.T) (*server, v1.Image) {
	t.Helper()
	var opens imagetest.Opens
	s := serve(t)
	img := imagetest.Image(t, &opens, "text")
	imagetest.Write(t, registry.PushWith(s.host+"/app:1.0", anonymous()), image.Artifact{Image: img})
	s.take()
	return s, img
}

// answer has the registry answer GET requests for paths that end in suffix with a body.
func (s *server) answer(suffix, mediaType, body string) {
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", imagetest.Digest([]byte(body)).String())
		io.WriteString(w, body)
		return true
	})
}

func TestResolveErrors(t *testing.T) {
	s, img := pushed(t)
	var opens imagetest.Opens
	imagetest.Write(t, registry.PushWith(s.host+"/multi", anonymous()), image.Artifact{Index: imagetest.Index(t, &opens, "text")})
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody listens on any more
	if err != nil {
		t.Fatal(err)
	}
	down := l.Addr().String()
	l.Close()
	for ref, c := range map[string]struct {
		want error
		text string
	}{
		s.host + "/none":           {registry.ErrNotFound, s.host + "/none:latest"},
		s.host + "/app:2.0":        {registry.ErrNotFound, "docker.io/… in front"},
		down + "/app":              {registry.ErrUnreachable, "check that " + down + " is spelled right and runs"},
		"name.invalid/app":         {registry.ErrUnreachable, "name.invalid"},
		"UPPER":                    {registry.ErrBadReference, "write a name like"},
		s.host + "/app@sha256:abc": {registry.ErrBadReference, "write a name like"},
		"/" + s.host + "/app":      {registry.ErrBadReference, "write a name like"},
	} {
		_, err := client().Resolve(t.Context(), ref, amd64)
		var re *registry.Error
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || !errors.As(err, &re) || re.Op != "resolve" || !strings.Contains(err.Error(), ref) {
			t.Errorf("%s: error %v, want %v with %q", ref, err, c.want, c.text)
		}
	}
	for ref, want := range map[string]string{
		"/multi": "it has no image for linux/s390x; it has linux/amd64, linux/arm64",
	} {
		_, err := client().Resolve(t.Context(), s.host+ref, platform.MustParse("linux/s390x"))
		var pe *registry.PlatformError
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), want) || pe.Want.Architecture != "s390x" || len(pe.Have) == 0 {
			t.Errorf("%s: error %v, want %q", ref, err, want)
		}
	}
	// An image that is alone is what it is: whoever asked decides.
	if got, err := client().Resolve(t.Context(), s.host+"/app:1.0", platform.MustParse("linux/s390x")); err != nil || got.Platform != amd64 {
		t.Errorf("one image of another platform: %+v, %v", got, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the user")
	cancel(stopped)
	if _, err := client().Resolve(ctx, s.host+"/app:1.0", amd64); !errors.Is(err, stopped) || errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("under an ended context: %v", err)
	}
	digest, _ := img.Digest()
	if got, err := client().Resolve(t.Context(), s.host+"/app@"+digest.String(), amd64); err != nil || got.Ref != s.host+"/app@"+digest.String() {
		t.Errorf("by digest: %+v, %v", got, err)
	}
}

// TestResolveOffline: what the documents have is found, and nothing is sent for anything.
func TestResolveOffline(t *testing.T) {
	s, _ := pushed(t)
	o := anonymous()
	o.Documents = keptDocuments{}
	online, err := registry.NewClient(o).Resolve(t.Context(), s.host+"/app:1.0", amd64)
	if err != nil {
		t.Fatal(err)
	}
	s.take()
	o.Offline = true
	got, err := registry.NewClient(o).Resolve(t.Context(), online.Ref, amd64)
	if err != nil || got.Ref != online.Ref || got.Digest != online.Digest {
		t.Errorf("what was resolved before is %+v, %v; want %s", got, err, online.Ref)
	}
	if _, err = registry.NewClient(o).Resolve(t.Context(), s.host+"/app:1.0", amd64); !errors.Is(err, registry.ErrOffline) || !strings.Contains(err.Error(), "build once") {
		t.Errorf("a tag: %v", err)
	}
	layers, err := got.Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := layers[0].Compressed(); !errors.Is(err, registry.ErrOffline) || errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("a layer: %v", err)
	}
	if requests := s.take(); len(requests) != 0 {
		t.Errorf("requests: %q", requests)
	}
}

type keptDocuments map[v1.Hash][]byte

func (k keptDocuments) Get(_ context.Context, h v1.Hash) ([]byte, bool) {
	data, ok := k[h]
	return data, ok
}

func (k keptDocuments) Put(_ context.Context, data []byte) error {
	k[imagetest.Digest(data)] = data
	return nil
}

// TestResolveDistrusts has the registry give something else than what its digests say.
func TestResolveDistrusts(t *testing.T) {
	s, img := pushed(t)
	digest, _ := img.Digest()
	m, _ := img.Manifest()
	raw, _ := img.RawManifest()
	config := m.Config.Digest.String()
	oci := string(types.OCIManifestSchema1)
	for name, c := range map[string]struct {
		suffix, mediaType, body string
		ref, want               string
	}{
		"other manifest":   {digest.String(), oci, string(raw) + " ", "/app@" + digest.String(), digest.String()},
		"other config":     {config, "", `{"os":"linux"}`, "/app:1.0", config},
		"longer config":    {config, "", strings.Repeat(" ", 10<<20), "/app:1.0", "more than the"},
		"huge manifest":    {"/manifests/1.0", oci, strings.Repeat(" ", 5<<20), "/app:1.0", "more than 4194304 bytes"},
		"no manifest":      {"/manifests/1.0", oci, "<html>", "/app:1.0", "manifest"},
		"a helm chart":     {"/manifests/1.0", oci, `{"schemaVersion":2,"mediaType":"application/vnd.cncf.helm","config":{}}`, "/app:1.0", "not a container image"},
		"schema 1":         {"/manifests/1.0", string(types.DockerManifestSchema1Signed), `{"schemaVersion":1}`, "/app:1.0", "schema 1"},
		"huge config":      {"/manifests/1.0", oci, `{"schemaVersion":2,"config":{"size":99999999,"digest":"` + config + `"},"layers":[]}`, "/app:1.0", "the limit is"},
		"path as a digest": {"/manifests/1.0", oci, `{"schemaVersion":2,"config":{"size":9,"digest":"sha256:../../x"},"layers":[]}`, "/app:1.0", "manifest"},
		"no platform":      {"/manifests/1.0", string(types.OCIImageIndex), `{"schemaVersion":2,"manifests":[]}`, "/app:1.0", "names no other platform"},
		"attestation only": {"/manifests/1.0", string(types.OCIImageIndex), `{"schemaVersion":2,"manifests":[{"mediaType":"` + oci + `","size":1,"digest":"` + config + `","platform":{"os":"unknown","architecture":"unknown"}}]}`, "/app:1.0", "names no other platform"},
	} {
		s.answer(c.suffix, c.mediaType, c.body)
		_, err := client().Resolve(t.Context(), s.host+c.ref, amd64)
		var re *registry.Error
		if err == nil || !errors.As(err, &re) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
		if errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("%s: reported as unreachable: %v", name, err)
		}
	}
}

// TestResolvedLayers: nothing is read before a layer is opened, and then it is verified.
func TestResolvedLayers(t *testing.T) {
	s, img := pushed(t)
	got, err := client().Resolve(t.Context(), s.host+"/app:1.0", amd64)
	if err != nil {
		t.Fatal(err)
	}
	s.take()
	layers, err := got.Image.Layers()
	if err != nil || len(s.take()) != 0 {
		t.Errorf("listing the layers asked the registry (%v)", err)
	}
	m, _ := img.Manifest()
	h := m.Layers[0].Digest
	read := func(ctx context.Context) error {
		rc, err := image.OpenLayer(ctx, layers[0])
		if err != nil {
			return err
		}
		defer rc.Close()
		_, err = io.Copy(io.Discard, rc)
		return err
	}
	if err := read(t.Context()); err != nil || count(s.take(), "GET /v2/app/blobs/"+short(h.String())) != 1 {
		t.Errorf("reading the layer: %v", err)
	}
	s.answer(h.String(), "", strings.Repeat("x", int(m.Layers[0].Size)))
	if err := read(t.Context()); err == nil || !strings.Contains(err.Error(), h.String()) {
		t.Errorf("other bytes: %v", err)
	}
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true })
	if err := read(t.Context()); !errors.Is(err, registry.ErrNotFound) || !strings.Contains(err.Error(), "pull "+s.host) {
		t.Errorf("a layer that is gone: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("under an ended context: %v", err)
	}
}

// TestResolveNeverFetchesURLs: a descriptor may name any URL; only the registry that was named is asked.
func TestResolveNeverFetchesURLs(t *testing.T) {
	s, other := serve(t), serve(t)
	data := []byte("layer")
	l := image.NewLayer(image.LayerInfo{
		Digest: imagetest.Digest(data), DiffID: imagetest.Digest(data), Size: 5, MediaType: types.OCIRestrictedLayer,
	})
	img := imagetest.Make(t, image.Spec{Layers: []v1.Layer{l}, File: imagetest.File("linux", "amd64")})
	raw, _ := img.RawManifest()
	doc := strings.Replace(string(raw), `"size":5`, `"size":5,"urls":["http://`+other.host+`/layer"]`, 1)
	config, _ := img.RawConfigFile()
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/manifests/1.0"):
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			io.WriteString(w, doc)
		case strings.HasSuffix(r.URL.Path, imagetest.Digest(config).String()):
			w.Write(config)
		default:
			return false
		}
		return true
	})
	got, err := client().Resolve(t.Context(), s.host+"/app:1.0", amd64)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := got.Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := layers[0].Compressed(); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if requests := other.take(); len(requests) != 0 {
		t.Errorf("the URL was asked: %q", requests)
	}
}

// TestSilentRegistry: a wait ends by Options.Timeout, before the answer, within a manifest and within a layer; and one that is only slow
// is waited for.
func TestSilentRegistry(t *testing.T) {
	s, img := pushed(t)
	m, _ := img.Manifest()
	o := anonymous()
	o.Timeout = 100 * time.Millisecond
	silent := func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	resolve := func(o registry.Options) (registry.Resolved, error) {
		return registry.NewClient(o).Resolve(t.Context(), s.host+"/app:1.0", amd64)
	}
	for name, f := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"ping": func(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true },
		"no answer": func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			<-r.Context().Done()
			return true
		},
		"half a manifest": func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			io.WriteString(w, "{")
			silent(w, r)
			return true
		},
		"drops of a manifest": func(w http.ResponseWriter, r *http.Request) bool { // never silent, and never done
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			for r.Context().Err() == nil {
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
			return true
		},
	} {
		s.intercept(f)
		if _, err := resolve(o); !errors.Is(err, registry.ErrUnreachable) || !strings.Contains(err.Error(), "silent for 100ms") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	s.intercept(nil)
	o.Timeout = 2 * time.Second // what is well has to be there in time
	res, err := resolve(o)
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := res.Image.Layers()
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", fmt.Sprint(m.Layers[0].Size))
		w.Write([]byte{0x1f})
		silent(w, r)
		return true
	})
	rc, err := layers[0].Compressed()
	if err == nil {
		_, err = io.Copy(io.Discard, rc)
		rc.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "silent for 2s") {
		t.Errorf("half a layer: %v", err)
	}
}

func TestResolveDefaultsToContainersOfThisMachine(t *testing.T) {
	var opens imagetest.Opens
	s := serve(t)
	host := platform.Host()
	img := imagetest.ImageFor(t, &opens, "a", "linux", host.Architecture)
	imagetest.Write(t, registry.PushWith(s.host+"/app", anonymous()), image.Artifact{Image: img})
	if got, err := client().Resolve(t.Context(), s.host+"/app", platform.Platform{}); err != nil || got.Platform.OS != "linux" {
		t.Errorf("%+v, %v", got, err)
	}
}
