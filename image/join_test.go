package image_test

import (
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/platform"
)

// indexOf is image.NewIndex.
func indexOf(t *testing.T, annotations map[string]string, children ...image.Child) image.Artifact {
	t.Helper()
	x, err := image.NewIndex(children, annotations)
	if err != nil {
		t.Fatal(err)
	}
	return image.Artifact{Index: x}
}

// TestJoinKeepsDescriptors: every row of a part is in the joined index as it was.
func TestJoinKeepsDescriptors(t *testing.T) {
	var opens imagetest.Opens
	unknown := platform.Platform{OS: "unknown", Architecture: "unknown"}
	amd64, s390x := imagetest.ImageFor(t, &opens, "a", "linux", "amd64"), imagetest.ImageFor(t, &opens, "b", "linux", "s390x")
	proof := imagetest.Image(t, &opens, "attestation")
	shared := image.Child{Image: imagetest.ImageFor(t, &opens, "both", "windows", "amd64")}
	docker := imagetest.Make(t, image.Spec{File: imagetest.File("linux", "ppc64le"), MediaTypes: image.Docker})
	first := indexOf(t, map[string]string{"left": "behind"},
		image.Child{Image: amd64, Annotations: map[string]string{"on": "the row"}},
		image.Child{Image: proof, Platform: unknown, Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"}}, shared)
	second := indexOf(t, nil, shared, image.Child{Image: docker},
		image.Child{Image: s390x, Platform: platform.MustParse("linux/arm/v6")}, image.Child{Image: s390x, Platform: platform.MustParse("linux/arm/v7")})
	arm64 := imagetest.ImageFor(t, &opens, "c", "linux", "arm64")
	sbom, err := image.NewAttachment(image.Attachment{ArtifactType: "application/spdx+json"})
	if err != nil {
		t.Fatal(err)
	}
	nested, err := image.Join([]image.Artifact{first, second, {Image: arm64}, {Image: sbom}}, map[string]string{"k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	if opens.Load() != 0 {
		t.Errorf("layers were opened %d times", opens.Load())
	}
	m, err := nested.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	rowsOf := func(a image.Artifact) []v1.Descriptor {
		m, err := a.Index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		return m.Manifests
	}
	want := string(mustJSON(t, append(rowsOf(first), rowsOf(second)[1:]...)))
	if got := string(mustJSON(t, m.Manifests[:6])); got != want {
		t.Errorf("rows %s\nwant %s", got, want)
	}
	if p := m.Manifests[6].Platform; len(m.Manifests) != 8 || p.String() != "linux/arm64" || m.Manifests[7].Platform != nil || m.Manifests[7].ArtifactType == "" {
		t.Errorf("the last rows are %s", mustJSON(t, m.Manifests[6:]))
	}
	if len(m.Annotations) != 1 || m.Annotations["k"] != "v" || m.MediaType != types.OCIImageIndex {
		t.Errorf("annotations %v, media type %s", m.Annotations, m.MediaType)
	}
	for _, row := range m.Manifests {
		img, err := nested.Image(row.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if d, _ := img.Digest(); d != row.Digest {
			t.Errorf("the image of row %s is %s", row.Digest, d)
		}
	}
}

func TestJoinOfDockerImagesIsDockers(t *testing.T) {
	var parts []image.Artifact
	for _, arch := range []string{"amd64", "arm64"} {
		parts = append(parts, image.Artifact{Image: imagetest.Make(t, image.Spec{File: imagetest.File("linux", arch), MediaTypes: image.Docker})})
	}
	for want, annotations := range map[types.MediaType]map[string]string{types.DockerManifestList: nil, types.OCIImageIndex: {"k": "v"}} {
		x, err := image.Join(parts, annotations)
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

func TestJoinRefusesWhatCannotBe(t *testing.T) {
	var opens imagetest.Opens
	a, b := image.Artifact{Image: imagetest.Image(t, &opens, "a")}, image.Artifact{Image: imagetest.Image(t, &opens, "b")}
	digestOf := func(a image.Artifact) string {
		d, err := a.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d.String()
	}
	usual := imagetest.File("linux", "arm64")
	spelt := usual
	spelt.Variant = "v8"
	for _, test := range []struct {
		parts []image.Artifact
		want  []string
	}{
		{nil, []string{"nothing to join"}},
		{[]image.Artifact{{}}, []string{"part 1 of 1", "exactly one of Image and Index"}},
		{[]image.Artifact{a, {Image: imagetest.Make(t, image.Spec{})}}, []string{"part 2 of 2", "names no platform"}},
		{[]image.Artifact{a, b}, []string{"part 1 of 2 (" + digestOf(a), "part 2 of 2 (" + digestOf(b), "both for linux/amd64"}},
		{[]image.Artifact{{Index: imagetest.Index(t, &opens, "x")}, a}, []string{"part 1 of 2", "part 2 of 2", "linux/amd64"}},
		{[]image.Artifact{{Image: imagetest.Make(t, image.Spec{File: usual})}, {Image: imagetest.Make(t, image.Spec{File: spelt})}}, []string{"both for linux/arm64"}},
	} {
		_, err := image.Join(test.parts, nil)
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
	}
	x, err := image.Join([]image.Artifact{a, a}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := x.IndexManifest(); len(m.Manifests) != 1 || !slices.Contains([]types.MediaType{types.OCIImageIndex}, m.MediaType) {
		t.Errorf("one image twice: %+v", m)
	}
}
