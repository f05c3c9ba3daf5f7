package image_test

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/platform"
)

func TestNewIndex(t *testing.T) {
	var opens imagetest.Opens
	v6 := imagetest.File("linux", "arm")
	v6.Variant = "v6"
	withFeatures := imagetest.File("windows", "amd64")
	withFeatures.OSVersion, withFeatures.OSFeatures = "10.0.1", []string{"win32k"}
	x, err := image.NewIndex([]image.Child{
		{Image: imagetest.ImageFor(t, &opens, "b", "linux", "s390x")},
		{Image: imagetest.Make(t, image.Spec{File: v6}), Platform: platform.MustParse("linux/arm/v6")},
		{Image: imagetest.Make(t, image.Spec{File: withFeatures})},
	}, map[string]string{"k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	if opens.Load() != 0 {
		t.Errorf("layers were opened %d times", opens.Load())
	}
	m, err := x.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.Manifests {
		got = append(got, d.Platform.String()+" "+strings.Join(d.Platform.OSFeatures, ","))
	}
	want := "linux/s390x |linux/arm/v6 |windows/amd64:10.0.1 win32k"
	if strings.Join(got, "|") != want || m.Annotations["k"] != "v" || m.MediaType != types.OCIImageIndex {
		t.Errorf("%s\nwant %s\n%+v", strings.Join(got, "|"), want, m)
	}
	m.Manifests[0].Digest = v1.Hash{}
	m.Annotations["k"] = "x"
	if err := validate.Index(x); err != nil {
		t.Error(err)
	}
	if _, err := x.Image(imagetest.Digest(nil)); err == nil || !strings.Contains(err.Error(), "has no image") {
		t.Errorf("error %v", err)
	}
	if _, err := x.ImageIndex(imagetest.Digest(nil)); err == nil {
		t.Error("found an index")
	}
}

func TestNewIndexOfDockerImages(t *testing.T) {
	docker := imagetest.Make(t, image.Spec{File: imagetest.File("linux", "amd64"), MediaTypes: image.Docker})
	oci := imagetest.Make(t, image.Spec{File: imagetest.File("linux", "arm64")})
	for want, children := range map[types.MediaType][]image.Child{
		types.DockerManifestList: {{Image: docker}},
		types.OCIImageIndex:      {{Image: docker}, {Image: oci}},
	} {
		x, err := image.NewIndex(children, nil)
		if err != nil {
			t.Fatal(err)
		}
		if mt, _ := x.MediaType(); mt != want {
			t.Errorf("%s, want %s", mt, want)
		}
		if err := validate.Index(x); err != nil {
			t.Error(err)
		}
	}
}

func TestNewIndexRefusesWhatCannotBe(t *testing.T) {
	var opens imagetest.Opens
	a, b := imagetest.Image(t, &opens, "a"), imagetest.Image(t, &opens, "b")
	for want, children := range map[string][]image.Child{
		"no image given":                             nil,
		"child 2 of 2 has no image":                  {{Image: a}, {}},
		"both for linux/amd64; a reader could only":  {{Image: a}, {Image: b}},
		"child 1 of 1: its config names no platform": {{Image: imagetest.Make(t, image.Spec{})}},
	} {
		if _, err := image.NewIndex(children, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	unknown := platform.Platform{OS: "unknown", Architecture: "unknown"} // attestations: any number of them
	if _, err := image.NewIndex([]image.Child{{Image: a}, {Image: a, Platform: unknown}, {Image: b, Platform: unknown}}, nil); err != nil {
		t.Error(err)
	}
}

func TestArtifactIsOneThing(t *testing.T) {
	var opens imagetest.Opens
	img, x := imagetest.Image(t, &opens, "a"), imagetest.Index(t, &opens, "a")
	for _, a := range []image.Artifact{{}, {Image: img, Index: x}} {
		if _, err := a.Digest(); err != image.ErrArtifact {
			t.Errorf("Digest: %v", err)
		}
		if _, _, err := a.Manifest(); err != image.ErrArtifact {
			t.Errorf("Manifest: %v", err)
		}
	}
	for _, a := range []image.Artifact{{Image: img}, {Index: x}} {
		raw, d, err := a.Manifest()
		if digest, _ := a.Digest(); err != nil || d.Digest != digest || imagetest.Digest(raw) != digest || d.Size != int64(len(raw)) {
			t.Errorf("%+v, %v", d, err)
		}
	}
}
