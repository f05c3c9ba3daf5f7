package stagewright_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

func TestAnnotations(t *testing.T) {
	build := builder(t)
	s := stage.Scratch().File("/x", "x").Label("a", "label")
	plain := build(s, stagewright.Options{})
	res := build(s, stagewright.Options{Annotations: map[string]string{"a": "1"}})
	img, err := res.Image()
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil || !maps.Equal(m.Annotations, map[string]string{"a": "1"}) {
		t.Errorf("annotations %v, %v", m.Annotations, err)
	}
	was, _ := plain.Image()
	if before, _ := was.ConfigName(); before != m.Config.Digest {
		t.Errorf("annotations change the configuration %s to %s", before, m.Config.Digest)
	}
	if out, _ := res.Outputs()[0].Image.Digest(); out.String() != digestOf(t, res) || out.String() == digestOf(t, plain) {
		t.Errorf("the output is %s, the image %s, without annotations %s", out, digestOf(t, res), digestOf(t, plain))
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	both := build(s, stagewright.Options{
		Platforms:   platform.MustParseSet("linux/amd64,linux/arm64"),
		Annotations: map[string]string{"a": "1"}, IndexAnnotations: map[string]string{"b": "2"},
	})
	index, err := both.Artifact().Index.IndexManifest()
	if err != nil || !maps.Equal(index.Annotations, map[string]string{"b": "2"}) {
		t.Errorf("index %v, %v", index.Annotations, err)
	}
	if err := validate.Index(both.Artifact().Index); err != nil {
		t.Error(err)
	}
}

func TestMediaTypes(t *testing.T) {
	build := builder(t)
	s := stage.Scratch().File("/x", "x")
	img, err := build(s, stagewright.Options{MediaTypes: image.Docker}).Image()
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil || m.MediaType != types.DockerManifestSchema2 || m.Config.MediaType != types.DockerConfigJSON || m.Layers[0].MediaType != types.DockerLayer {
		t.Errorf("manifest %+v, %v", m, err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	both := build(s, stagewright.Options{MediaTypes: image.Docker, Platforms: platform.MustParseSet("linux/amd64,linux/arm64")})
	if mt, err := both.Artifact().Index.MediaType(); err != nil || mt != types.DockerManifestList {
		t.Errorf("index %s, %v", mt, err)
	}
}

func TestManifestMistakes(t *testing.T) {
	some := map[string]string{"a": "b"}
	for want, o := range map[string]stagewright.Options{
		"without a key":  {Annotations: map[string]string{"": "x"}},
		"no annotations": {Annotations: some, MediaTypes: image.Docker},
		"one platform":   {IndexAnnotations: some},
		"media types 7":  {MediaTypes: 7},
	} {
		o.CacheDir = t.TempDir()
		if _, err := stagewright.Build(t.Context(), stage.Scratch().Copy("missing", "/"), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func digestOf(t *testing.T, res *stagewright.Result) string {
	t.Helper()
	d, err := res.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}
