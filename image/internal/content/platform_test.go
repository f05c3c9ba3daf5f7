package content

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestPlatforms: other libraries write the media type of an image's config as the artifact type of its row; what has
// another one is no image.
func TestPlatforms(t *testing.T) {
	row := v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}
	attached := v1.Descriptor{MediaType: types.OCIManifestSchema1, ArtifactType: "application/spdx+json"}
	idx := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: empty.Image, Descriptor: row}, mutate.IndexAddendum{Add: empty.Image, Descriptor: attached})
	m, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.Manifests[0].ArtifactType == "" {
		t.Error("go-containerregistry has changed: the row of the image has no artifact type")
	}
	rows, have, err := Platforms(idx)
	if err != nil || len(rows) != 1 || have[0].Architecture != "arm64" {
		t.Errorf("%v, %v, %v; want the image alone", rows, have, err)
	}
}
