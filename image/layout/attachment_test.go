package layout_test

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/rootfs"
	"github.com/stagewright/stagewright/platform"
)

// TestAttachmentsStandBesideTheirImage: what belongs to an image takes neither its row nor its name.
func TestAttachmentsStandBesideTheirImage(t *testing.T) {
	var opens imagetest.Opens
	img := image.Artifact{Image: imagetest.Image(t, &opens, "a")}
	_, subject, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	attach := func(text string) image.Artifact {
		a, err := image.NewAttachment(image.Attachment{
			ArtifactType: "application/spdx+json", Subject: subject, Files: []image.AttachedFile{{Name: "sbom", Data: []byte(text)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return image.Artifact{Image: a}
	}
	dir := filepath.Join(t.TempDir(), "oci")
	first, second := attach("1"), attach("2")
	for _, a := range []image.Artifact{img, first, second, first, img} {
		imagetest.Write(t, layout.Dir(dir), a)
	}
	if got := rows(t, dir); len(got) != 3 {
		t.Errorf("rows %q, want 3", got)
	}
	got, err := layout.Read(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := got.Digest(); d != subject.Digest {
		t.Errorf("the only image is %s, want %s", d, subject.Digest)
	}

	want, _, err := first.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	name, err := first.Digest()
	if err != nil {
		t.Fatal(err)
	}
	back, err := layout.Read(dir, name.String())
	if err != nil {
		t.Fatal(err)
	}
	raw, d, err := back.Manifest()
	if err != nil || !bytes.Equal(raw, want) || d.ArtifactType != "application/spdx+json" {
		t.Errorf("read back: %s, %+v, %v", raw, d, err)
	}
	layers, err := back.Image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	rc, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if b, err := io.ReadAll(rc); err != nil || string(b) != "1" {
		t.Errorf("%q, %v", b, err)
	}

	// What was read back can be written again, wherever the medium has a place for it.
	imagetest.Write(t, archive.OCI(filepath.Join(t.TempDir(), "a.tar")), back)
	for _, sink := range []image.Sink{archive.Docker(filepath.Join(t.TempDir(), "a.tar")), rootfs.Dir(filepath.Join(t.TempDir(), "a")), rootfs.Tar(filepath.Join(t.TempDir(), "a.tar"))} {
		if err := sink.Write(t.Context(), back); err == nil || !strings.Contains(err.Error(), `an artifact of type "application/spdx+json"`) {
			t.Errorf("%s: %v", sink, err)
		}
	}
	if _, err := layout.Resolve(t.Context(), dir, name.String(), platform.Platform{}); err == nil || !strings.Contains(err.Error(), "no container image") {
		t.Errorf("as a base: %v", err)
	}
}
