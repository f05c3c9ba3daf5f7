package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
)

func TestPushAndResolve(t *testing.T) {
	var opens imagetest.Opens
	s := serve(t)
	img := imagetest.Image(t, &opens, "text")
	imagetest.Write(t, registry.PushWith(s.host+"/team/app:1.0", anonymous()), image.Artifact{Image: img})
	if opens.Load() != 1 {
		t.Errorf("the layer was opened %d times", opens.Load())
	}
	requests := s.take()
	if n := count(requests, "PUT /v2/team/app/manifests/1.0"); n != 1 {
		t.Errorf("the name was put %d times: %q", n, requests)
	}
	got, err := client().Resolve(t.Context(), s.host+"/team/app:1.0", platform.MustParse("linux/amd64"))
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := img.Digest()
	want := s.host + "/team/app:1.0@" + digest.String()
	if got.Digest != digest || got.Ref != want || got.Platform.String() != "linux/amd64" {
		t.Errorf("%+v, want %s", got, want)
	}
	if requests := s.take(); count(requests, "/blobs/") != 1 || count(requests, "GET") != 3 || len(requests) != 3 {
		t.Errorf("a resolve is the ping, the manifest and the config, but: %q", requests)
	}
	if err := validate.Image(got.Image); err != nil {
		t.Error(err)
	}
}

func TestPushIndexWithItsChildren(t *testing.T) {
	var opens imagetest.Opens
	s := serve(t)
	x := imagetest.Index(t, &opens, "text")
	imagetest.Write(t, registry.PushWith(s.host+"/app", anonymous()), image.Artifact{Index: x})
	if n := count(s.take(), "PUT /v2/app/manifests/"); n != 3 {
		t.Errorf("%d manifests were put, want 3", n)
	}
	m, _ := x.IndexManifest()
	for n, p := range []string{"linux/amd64", "linux/arm64"} {
		got, err := client().Resolve(t.Context(), s.host+"/app", platform.MustParse(p))
		if err != nil {
			t.Fatal(err)
		}
		digest, _ := x.Digest()
		if got.Digest != m.Manifests[n].Digest || got.Ref != s.host+"/app:latest@"+digest.String() || got.Platform.String() != p {
			t.Errorf("%+v", got)
		}
		if err := validate.Image(got.Image); err != nil {
			t.Error(err)
		}
	}
}

// TestPushUnchanged: the ping and one question, no blob, no layer opened.
func TestPushUnchanged(t *testing.T) {
	var opens imagetest.Opens
	for name, a := range map[string]image.Artifact{
		"image": {Image: imagetest.Image(t, &opens, "text")}, "index": {Index: imagetest.Index(t, &opens, "text")},
	} {
		s := serve(t)
		imagetest.Write(t, registry.PushWith(s.host+"/app:1.0", anonymous()), a)
		s.take()
		opens.Store(0)
		imagetest.Write(t, registry.PushWith(s.host+"/app:1.0", anonymous()), a)
		if got, want := s.take(), []string{"GET /v2/", "HEAD /v2/app/manifests/1.0"}; !slices.Equal(got, want) {
			t.Errorf("%s: requests %q, want %q", name, got, want)
		}
		if opens.Load() != 0 {
			t.Errorf("%s: layers were opened %d times", name, opens.Load())
		}
	}
}

// TestPushSendsOnlyWhatIsNew: of two layers one is there.
func TestPushSendsOnlyWhatIsNew(t *testing.T) {
	var shared, own imagetest.Opens
	s := serve(t)
	base := imagetest.Image(t, &shared, "base")
	sink := registry.PushWith(s.host+"/app:1.0", anonymous())
	imagetest.Write(t, sink, image.Artifact{Image: base})
	img := imagetest.Make(t, image.Spec{
		Base: base, Layers: []v1.Layer{imagetest.Layer(t, &own, map[string]string{"new": "1"})}, File: imagetest.File("linux", "amd64"),
	})
	s.take()
	imagetest.Write(t, sink, image.Artifact{Image: img})
	if shared.Load() != 1 || own.Load() != 1 {
		t.Errorf("the layer that was there was opened %d times, the new one %d times", shared.Load(), own.Load())
	}
	if requests := s.take(); count(requests, "PUT /v2/app/blobs/") != 2 { // the layer and the config
		t.Errorf("requests %q", requests)
	}
}

// TestPushUnasked: where none of eight blobs is, the tiny ones that are left are sent unasked; where one is, all are asked for.
func TestPushUnasked(t *testing.T) {
	const layers = 20
	var opens imagetest.Opens
	artifact := func(first string) image.Artifact {
		spec := image.Spec{File: imagetest.File("linux", "amd64")}
		for n := range layers {
			text := fmt.Sprint(n)
			if n == 0 {
				text = first
			}
			spec.Layers = append(spec.Layers, imagetest.Layer(t, &opens, map[string]string{"file": text}))
		}
		return image.Artifact{Image: imagetest.Make(t, spec)}
	}
	o := anonymous()
	o.Jobs = 1 // how many questions are under way when the eighth is answered is chance
	s := serve(t)
	imagetest.Write(t, registry.PushWith(s.host+"/app:1.0", o), artifact("a"))
	if r := s.take(); count(r, "HEAD /v2/app/blobs/") != 8 || count(r, "PUT /v2/app/blobs/") != layers+1 {
		t.Errorf("into an empty repository: %q", r)
	}
	imagetest.Write(t, registry.PushWith(s.host+"/app:2.0", o), artifact("b")) // one layer and the config are new
	if r := s.take(); count(r, "HEAD /v2/app/blobs/") != layers+1 || count(r, "PUT /v2/app/blobs/") != 2 {
		t.Errorf("beside the other: %q", r)
	}
}

// TestPushMountsTheLayersOfABase: an image on a base of another repository of the registry is pushed without moving a byte of the base.
func TestPushMountsTheLayersOfABase(t *testing.T) {
	var opens imagetest.Opens
	s := serve(t)
	imagetest.Write(t, registry.PushWith(s.host+"/library/base", anonymous()), image.Artifact{Image: imagetest.Image(t, &opens, "base")})
	base, err := client().Resolve(t.Context(), s.host+"/library/base", platform.MustParse("linux/amd64"))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := base.Image.Manifest()
	mounted := 0
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool { // the fake has one store of blobs for all repositories, and no mounts
		if r.Method == http.MethodHead && r.URL.Path == "/v2/app/blobs/"+m.Layers[0].Digest.String() && mounted == 0 {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		if q := r.URL.Query(); r.Method == http.MethodPost && q.Get("mount") == m.Layers[0].Digest.String() && q.Get("from") == "library/base" {
			mounted++
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return false
	})
	s.take()
	opens.Store(0)
	for _, family := range []image.MediaTypes{image.OCI, image.Docker} { // Docker: the layer has another media type and is wrapped
		mounted = 0
		img := imagetest.Make(t, image.Spec{
			Base: base.Image, MediaTypes: family, File: imagetest.File("linux", "amd64"),
			Layers: []v1.Layer{imagetest.Layer(t, &opens, map[string]string{"new": fmt.Sprint(family)})},
		})
		imagetest.Write(t, registry.PushWith(s.host+"/app", anonymous()), image.Artifact{Image: img})
		requests := s.take()
		if mounted != 1 || count(requests, "GET /v2/library/base") != 0 || count(requests, "PUT /v2/app/blobs/") != 2 {
			t.Errorf("mounted %d layers with %q", mounted, requests)
		}
	}
	if opens.Load() != 2 {
		t.Errorf("layers were opened %d times, want 2: the new one of each image", opens.Load())
	}
}

func TestPushByDigest(t *testing.T) {
	var opens imagetest.Opens
	s := serve(t)
	img := imagetest.Image(t, &opens, "text")
	digest, _ := img.Digest()
	imagetest.Write(t, registry.PushWith(s.host+"/app@"+digest.String(), anonymous()), image.Artifact{Image: img})
	s.take()
	other := imagetest.Digest([]byte("other")).String()
	err := registry.PushWith(s.host+"/app@"+other, anonymous()).Write(t.Context(), image.Artifact{Image: img})
	var re *registry.Error
	if !errors.As(err, &re) || !strings.Contains(err.Error(), digest.String()) || len(s.take()) != 0 {
		t.Errorf("error %v", err)
	}
}

func TestPushFails(t *testing.T) {
	var opens imagetest.Opens
	s := serve(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the user")
	var ce *image.ContentError
	for name, c := range map[string]struct {
		ctx   context.Context
		layer v1.Layer
		is    func(error) bool
	}{
		"broken":       {t.Context(), imagetest.Broken(1000, nil), func(err error) bool { return errors.Is(err, imagetest.ErrBroken) }},
		"lying":        {t.Context(), imagetest.Lying(t, map[string]string{"f": "1"}), func(err error) bool { return errors.As(err, &ce) }},
		"lying, large": {t.Context(), lyingLarge(t), func(err error) bool { return errors.As(err, &ce) }},
		"cancelled":    {ctx, imagetest.Broken(1000, func() { cancel(stopped) }), func(err error) bool { return errors.Is(err, stopped) }},
	} {
		img := imagetest.Make(t, image.Spec{Layers: []v1.Layer{c.layer}, File: imagetest.File("linux", "amd64")})
		err := registry.PushWith(s.host+"/app:1.0", anonymous()).Write(c.ctx, image.Artifact{Image: img})
		var re *registry.Error
		if !c.is(err) || !errors.As(err, &re) || re.Op != "push" || re.Host != s.host {
			t.Errorf("%s: error %v", name, err)
		}
		if errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("%s: the registry is blamed: %v", name, err)
		}
		if n := count(s.take(), "PUT /v2/app/manifests"); n != 0 {
			t.Errorf("%s: the name was put", name)
		}
	}
	quiet := serve(t)
	if err := registry.Push(quiet.host+"/app").Write(ctx, image.Artifact{Image: imagetest.Image(t, &opens, "a")}); !errors.Is(err, stopped) || len(quiet.take()) != 0 {
		t.Errorf("under an ended context: %v", err)
	}
	if err := registry.Push(s.host+"/app").Write(t.Context(), image.Artifact{}); !errors.Is(err, image.ErrArtifact) {
		t.Errorf("an empty artifact: %v", err)
	}
}

// lyingLarge is a layer of more than one request whose bytes have another digest.
func lyingLarge(t *testing.T) v1.Layer {
	data := make([]byte, 3*mib)
	other := imagetest.Digest([]byte("other"))
	return image.NewLayer(image.LayerInfo{
		Digest: other, DiffID: other, Size: int64(len(data)), MediaType: types.OCILayer,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	})
}

func TestPushNames(t *testing.T) {
	var opens imagetest.Opens
	for _, ref := range []string{"", "UPPER/case", "a b", "app:", "app@sha256:1", "http://host/app"} {
		err := registry.Push(ref).Write(t.Context(), image.Artifact{Image: imagetest.Image(t, &opens, "a")})
		if !errors.Is(err, registry.ErrBadReference) || !strings.Contains(err.Error(), "write a name like") {
			t.Errorf("%q: error %v", ref, err)
		}
	}
	if got := fmt.Sprint(registry.Push("app:1.0")); got != "registry app:1.0" {
		t.Errorf("as text it is %q", got)
	}
}

// TestPushTags: blobs once, the manifest under each name, one question for each name when nothing changed, and only the missing name when
// one is new.
func TestPushTags(t *testing.T) {
	var opens imagetest.Opens
	s := serve(t)
	a := image.Artifact{Index: imagetest.Index(t, &opens, "text")}
	sink := func(tags ...string) image.Sink { return registry.PushWith(s.host+"/app:1.4.2", anonymous(), tags...) }
	for _, c := range []struct {
		tags []string
		how  string
		puts int // of the manifest of the index
	}{
		{[]string{"1.4", "latest", "1.4.2", "latest"}, "pushed", 3},
		{[]string{"1.4", "latest"}, "there already", 0},
		{[]string{"1.4", "latest", "new"}, "there already, under another name", 1},
	} {
		opens.Store(0)
		s.take()
		d, err := image.Deliver(t.Context(), sink(c.tags...), a, nil)
		if err != nil {
			t.Fatal(err)
		}
		requests := s.take()
		puts := count(requests, "PUT /v2/app/manifests/") - count(requests, "PUT /v2/app/manifests/sha256")
		blobs := count(requests, "/blobs/") > 0 || opens.Load() > 0
		if puts != c.puts || d.How != c.how || blobs != (c.how == "pushed") || len(d.Refs) < 3 || d.Refs[1] != s.host+"/app:1.4" {
			t.Errorf("%q: %+v with %q", c.tags, d, requests)
		}
	}
	for _, tag := range []string{"", "a b", "other/app:1.0", "app:1.0", s.host + "/app:1.0", strings.Repeat("x", 200), "@sha256"} {
		err := sink(tag).Write(t.Context(), a)
		if !errors.Is(err, registry.ErrBadReference) || !strings.Contains(err.Error(), "is not a tag of "+s.host+"/app") {
			t.Errorf("%q: error %v", tag, err)
		}
	}
	if got := fmt.Sprint(registry.Push("app:1.4.2", "1.4", "1")); got != "registry app:1.4.2, 1.4, 1" {
		t.Errorf("as text it is %q", got)
	}
}

// TestPushRefusedTag: one of three names may not be moved.
func TestPushRefusedTag(t *testing.T) {
	var opens imagetest.Opens
	s := serve(t)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/manifests/latest") {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"tag latest is immutable"}]}`)
		return true
	})
	d, err := image.Deliver(t.Context(), registry.PushWith(s.host+"/app:1.0", anonymous(), "latest", "1"), image.Artifact{Image: imagetest.Image(t, &opens, "a")}, nil)
	var re *registry.Error
	if !errors.As(err, &re) || re.Ref != s.host+"/app:latest" || !errors.Is(err, registry.ErrUnauthorized) ||
		!strings.Contains(err.Error(), "tag latest is immutable") || !strings.Contains(err.Error(), "it is there as "+s.host+"/app:1.0") {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(d.Refs, []string{s.host + "/app:1.0"}) || count(s.take(), "PUT /v2/app/manifests/1") != 1 {
		t.Errorf("%+v", d)
	}
}
