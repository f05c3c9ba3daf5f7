package layout_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/layout"
)

func TestReadGivesBackWhatWasWritten(t *testing.T) {
	var opens imagetest.Opens
	dir := filepath.Join(t.TempDir(), "oci")
	img, x := imagetest.Image(t, &opens, "a"), imagetest.Index(t, &opens, "b")
	imagetest.Write(t, layout.Dir(dir, "app:1"), image.Artifact{Image: img})
	imagetest.Write(t, layout.Dir(dir, "app:2"), image.Artifact{Index: x})
	for _, ref := range []string{"app:1", "1", "docker.io/library/app:1", "index.docker.io/library/app:1"} {
		a, err := layout.Read(dir, ref)
		if err != nil || a.Image == nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if err := validate.Image(a.Image); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	a, err := layout.Read(dir, "app:2")
	if err != nil || a.Index == nil {
		t.Fatal(err)
	}
	if err := validate.Index(a.Index); err != nil {
		t.Error(err)
	}
	// What was read can be written: from layout to layout, index and all.
	copied := filepath.Join(t.TempDir(), "copy")
	imagetest.Write(t, layout.Dir(copied, "app:2"), a)
	imagetest.Write(t, layout.Dir(copied, "app:1"), image.Artifact{Image: img})
	again, err := layout.Read(copied, "2")
	if err != nil {
		t.Fatal(err)
	}
	got, _ := again.Digest()
	if want, _ := x.Digest(); got != want {
		t.Errorf("the copy is %s, want %s", got, want)
	}
}

func TestReadSaysWhatThereIs(t *testing.T) {
	var opens imagetest.Opens
	dir := filepath.Join(t.TempDir(), "oci")
	if _, err := layout.Read(dir, "app"); !errors.Is(err, layout.ErrNotLayout) || !strings.Contains(err.Error(), "no such directory") {
		t.Errorf("missing: %v", err)
	}
	if _, err := layout.Read(t.TempDir(), "app"); !errors.Is(err, layout.ErrNotLayout) {
		t.Errorf("empty: %v", err)
	}
	for i := range 25 {
		imagetest.Write(t, layout.Dir(dir, fmt.Sprintf("app:%d", i)), image.Artifact{Image: imagetest.Image(t, &opens, "a")})
	}
	for ref, want := range map[string]string{"other": "docker.io/library/app:3", "": "it has 25 images", "no name": "and 5 more"} {
		if _, err := layout.Read(dir, ref); !errors.Is(err, layout.ErrNotFound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", ref, err, want)
		}
	}
}

// TestReadFindsDamage changes one stored blob after the other.
func TestReadFindsDamage(t *testing.T) {
	var opens imagetest.Opens
	img := imagetest.Image(t, &opens, "a")
	m, _ := img.Manifest()
	digest, _ := img.Digest()
	for what, h := range map[string]v1.Hash{"manifest": digest, "config": m.Config.Digest, "layer": m.Layers[0].Digest} {
		dir := filepath.Join(t.TempDir(), "oci")
		imagetest.Write(t, layout.Dir(dir, "app"), image.Artifact{Image: img})
		path := filepath.Join(dir, "blobs", "sha256", h.Hex)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := append([]byte{}, whole...)
		changed[len(changed)/2] ^= 1
		for name, damaged := range map[string][]byte{"changed": changed, "short": whole[1:], "long": append(whole[:len(whole):len(whole)], 'x')} {
			if err := os.WriteFile(path, damaged, 0o666); err != nil {
				t.Fatal(err)
			}
			err := readAll(dir)
			var ce *image.ContentError
			if !errors.As(err, &ce) || ce.Want != h {
				t.Errorf("%s %s: error %v", what, name, err)
			}
		}
		os.Remove(path)
		if err := readAll(dir); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), h.Hex) {
			t.Errorf("%s missing: error %v", what, err)
		}
		os.Mkdir(path, 0o777)
		if err := readAll(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s is a directory: error %v", what, err)
		}
	}
}

// readAll reads everything of the only image of a layout.
func readAll(dir string) error {
	a, err := layout.Read(dir, "")
	if err != nil {
		return err
	}
	layers, err := a.Image.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		rc, err := l.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, rc)
		rc.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// TestReadRefusesHostileManifests stores documents that are what their digest says and yet no manifest to work with.
func TestReadRefusesHostileManifests(t *testing.T) {
	const oci = "application/vnd.oci.image.manifest.v1+json"
	const idx = "application/vnd.oci.image.index.v1+json"
	h := imagetest.Digest([]byte("{}")).String()
	config := `"config":{"mediaType":"x","size":2,"digest":"` + h + `"}`
	for name, c := range map[string]struct{ mediaType, doc, want string }{
		"no object":       {oci, `[]`, "manifest"},
		"no config":       {oci, `{"schemaVersion":2,"layers":[]}`, "names no config"},
		"negative size":   {oci, `{` + config + `,"layers":[{"size":-1,"digest":"` + h + `"}]}`, "size -1"},
		"no digest":       {oci, `{` + config + `,"layers":[{"size":1}]}`, "a layer has"},
		"path as digest":  {oci, `{` + config + `,"layers":[{"size":1,"digest":"sha256:../../../etc/passwd"}]}`, "manifest"},
		"other type":      {oci, `{"mediaType":"` + idx + `",` + config + `}`, "what refers to it says"},
		"both kinds":      {oci, `{` + config + `,"layers":[],"manifests":[]}`, `has "manifests"`},
		"index with both": {idx, `{"manifests":[],"layers":[]}`, `has "layers"`},
		"unknown type":    {"application/zip", `{` + config + `}`, "not the one looked for"},
	} {
		dir := t.TempDir()
		put(t, dir, "oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
		d := imagetest.Digest([]byte(c.doc))
		put(t, dir, "blobs/sha256/"+d.Hex, c.doc)
		row, _ := json.Marshal(map[string]any{"mediaType": c.mediaType, "digest": d.String(), "size": len(c.doc)})
		put(t, dir, "index.json", `{"schemaVersion":2,"manifests":[`+string(row)+`]}`)
		if _, err := layout.Read(dir, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	dir := t.TempDir()
	put(t, dir, "oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	put(t, dir, "index.json", `{"manifests":[{"mediaType":"`+oci+`","digest":"`+h+`","size":9000000}]}`)
	if _, err := layout.Read(dir, ""); err == nil || !strings.Contains(err.Error(), "the limit is") {
		t.Errorf("a manifest of 9 MB: %v", err)
	}
	put(t, dir, "index.json", `{"manifests":["`+strings.Repeat("x", image.MaxManifestSize)+`"]}`)
	if _, err := layout.Read(dir, ""); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an index.json of more than 4 MiB: %v", err)
	}
}

// TestReadRefusesAConfigOfOtherLayers: as many diff IDs as layers, or nothing.
func TestReadRefusesAConfigOfOtherLayers(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	h := imagetest.Digest([]byte("{}"))
	put(t, dir, "blobs/sha256/"+h.Hex, "{}")
	doc := fmt.Sprintf(`{"config":{"size":2,"digest":"%s"},"layers":[{"size":2,"digest":"%s"}]}`, h, h)
	d := imagetest.Digest([]byte(doc))
	put(t, dir, "blobs/sha256/"+d.Hex, doc)
	put(t, dir, "index.json", fmt.Sprintf(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d}]}`, d, len(doc)))
	a, err := layout.Read(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Image.Layers(); err == nil || !strings.Contains(err.Error(), "1 layers and its config 0 diff IDs") {
		t.Errorf("error %v", err)
	}
}
