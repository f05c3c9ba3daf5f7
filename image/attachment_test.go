package image_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
)

func TestNewAttachment(t *testing.T) {
	var opens imagetest.Opens
	_, subject, err := image.Artifact{Image: imagetest.Image(t, &opens, "a")}.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	subject.Annotations = map[string]string{"not": "copied"}
	img, err := image.NewAttachment(image.Attachment{
		ArtifactType: "application/spdx+json", Subject: subject, Annotations: map[string]string{"k": "v"},
		Files: []image.AttachedFile{
			{Name: "sbom.json", MediaType: "application/spdx+json", Data: []byte(`{"spdx":1}`), Annotations: map[string]string{"a": "b"}},
			{Data: []byte("\x1f\x8bnot gzip, though it begins like it")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, d, err := image.Artifact{Image: img}.Manifest()
	if err != nil || d.ArtifactType != "application/spdx+json" || d.MediaType != types.OCIManifestSchema1 || imagetest.Digest(raw) != d.Digest {
		t.Errorf("%+v, %v", d, err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"artifactType": `"application/spdx+json"`,
		// The empty descriptor of the specification, letter for letter.
		"config":      `{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","data":"e30="}`,
		"subject":     `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":` + string(mustJSON(t, subject.Size)) + `,"digest":"` + subject.Digest.String() + `"}`,
		"annotations": `{"k":"v"}`,
	} {
		if string(got[field]) != want {
			t.Errorf("%s is %s\nwant %s", field, got[field], want)
		}
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 2 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	m, err := img.Manifest()
	if err != nil || m.Layers[0].Annotations["org.opencontainers.image.title"] != "sbom.json" || m.Layers[0].Annotations["a"] != "b" ||
		m.Layers[1].MediaType != "application/octet-stream" || m.Layers[1].Annotations != nil {
		t.Errorf("layers %+v, %v", m.Layers, err)
	}
	for _, open := range []func() (io.ReadCloser, error){layers[1].Compressed, layers[1].Uncompressed} {
		rc, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(rc); err != nil || !strings.Contains(string(b), "not gzip") {
			t.Errorf("%q, %v", b, err)
		}
	}
}

func TestNewAttachmentWithoutFiles(t *testing.T) {
	img, err := image.NewAttachment(image.Attachment{ArtifactType: "application/vnd.example.approval"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil || len(m.Layers) != 1 || m.Layers[0].MediaType != types.OCIEmptyJSON || m.Layers[0].Digest != m.Config.Digest || m.Subject != nil {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestNewAttachmentRefusesWhatCannotBe(t *testing.T) {
	digest := imagetest.Digest(nil)
	for want, a := range map[string]image.Attachment{
		"ArtifactType: it is empty":              {},
		`ArtifactType: "sbom" is not`:            {ArtifactType: "sbom"},
		`"a/b; c=d" is not a media type`:         {ArtifactType: "a/b; c=d"},
		`file "x": "y" is not`:                   {ArtifactType: "a/b", Files: []image.AttachedFile{{Name: "x", MediaType: "y"}}},
		"Subject has the media type":             {ArtifactType: "a/b", Subject: v1.Descriptor{Digest: digest, Size: 1}},
		`the size 0; give the descriptor`:        {ArtifactType: "a/b", Subject: v1.Descriptor{MediaType: types.OCIImageIndex, Digest: digest}},
		"the manifest has":                       {ArtifactType: "a/b", Annotations: map[string]string{"long": strings.Repeat("x", image.MaxManifestSize)}},
		`Subject has the media type "image/png"`: {ArtifactType: "a/b", Subject: v1.Descriptor{MediaType: "image/png", Digest: digest, Size: 1}},
	} {
		if _, err := image.NewAttachment(a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
