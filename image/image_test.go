package image_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
)

func TestNewOpensNoLayer(t *testing.T) {
	var opens imagetest.Opens
	img := imagetest.Image(t, &opens, "text")
	for _, f := range []func() error{
		func() error { _, err := img.Digest(); return err },
		func() error { _, err := img.Manifest(); return err },
		func() error { _, err := img.RawConfigFile(); return err },
		func() error { _, err := img.ConfigFile(); return err },
		func() error { _, err := img.Layers(); return err },
		func() error { return validate.Image(img, validate.Fast) },
	} {
		if err := f(); err != nil {
			t.Error(err)
		}
	}
	if n := opens.Load(); n != 0 {
		t.Errorf("layers were opened %d times", n)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
}

// TestNewGolden: equal input gives equal images for ever, on every machine.
func TestNewGolden(t *testing.T) {
	spec := image.Spec{
		Layers: []v1.Layer{image.NewLayer(image.LayerInfo{
			Digest: imagetest.Digest([]byte("stored")), DiffID: imagetest.Digest([]byte("tar")), Size: 6,
		})},
		File:        imagetest.File("linux", "amd64"),
		Annotations: map[string]string{"b": "2", "a": "1"},
	}
	for family, want := range map[image.MediaTypes]string{
		image.OCI:    "sha256:4b97a3329d903e4ee322c2d8c04dcb33091ab20f9f09863307153db98c6e2edd",
		image.Docker: "sha256:0417fb0ab7292ffc58fd9714f22774ea437b6ae95b1f35ce95c6612bd673ce10",
	} {
		spec.MediaTypes = family
		if got, err := imagetest.Make(t, spec).Digest(); err != nil || got.String() != want {
			t.Errorf("family %d: the digest is %s, want %s (%v)", family, got, want, err)
		}
	}
}

func TestNewFromScratchWithoutLayers(t *testing.T) {
	img := imagetest.Make(t, image.Spec{File: imagetest.File("linux", "amd64")})
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	raw, _ := img.RawManifest()
	if !bytes.Contains(raw, []byte(`"layers":[]`)) {
		t.Errorf("no layers must be an empty list: %s", raw)
	}
}

func TestNewOnABase(t *testing.T) {
	var opens imagetest.Opens
	base := imagetest.Image(t, &opens, "base")
	for _, family := range []image.MediaTypes{image.OCI, image.Docker} {
		middle := imagetest.Make(t, image.Spec{
			Base: base, MediaTypes: image.Docker,
			Layers: []v1.Layer{imagetest.Layer(t, &opens, map[string]string{"middle": "1"})},
		})
		img := imagetest.Make(t, image.Spec{
			Base: middle, MediaTypes: family, File: imagetest.File("linux", "amd64"),
			Layers: []v1.Layer{imagetest.Layer(t, &opens, map[string]string{"top": "1"})}, Annotations: map[string]string{"k": "v"},
		})
		m, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		want := []types.MediaType{types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer}
		if family == image.Docker {
			want = []types.MediaType{types.DockerManifestSchema2, types.DockerConfigJSON, types.DockerLayer}
		}
		mt, _ := img.MediaType()
		if mt != want[0] || m.MediaType != want[0] || m.Config.MediaType != want[1] || m.Annotations["k"] != "v" || len(m.Layers) != 3 {
			t.Errorf("family %d: %s, %+v", family, mt, m)
		}
		layers, _ := img.Layers()
		for n, d := range m.Layers {
			if got, _ := layers[n].MediaType(); d.MediaType != want[2] || got != want[2] {
				t.Errorf("family %d: layer %d is %s in the manifest and %s itself", family, n, d.MediaType, got)
			}
		}
		baseLayers, _ := base.Layers()
		a, _ := baseLayers[0].Digest()
		if m.Layers[0].Digest != a {
			t.Error("the layer of the base has another digest")
		}
		if opens.Load() != 0 {
			t.Errorf("layers were opened %d times", opens.Load())
		}
		if err := validate.Image(img); err != nil {
			t.Error(err)
		}
		opens.Store(0)
	}
}

// TestDockersMediaTypesHaveNoZstd: neither in an own layer nor in one of a base; other types without a name stay what they are.
func TestDockersMediaTypesHaveNoZstd(t *testing.T) {
	data := []byte("x")
	layer := func(mt types.MediaType) v1.Layer {
		return image.NewLayer(image.LayerInfo{Digest: imagetest.Digest(data), DiffID: imagetest.Digest(data), Size: 1, MediaType: mt})
	}
	zstd := image.Spec{Layers: []v1.Layer{layer(types.OCILayerZStd)}}
	based := image.Spec{Base: imagetest.Make(t, zstd)}
	for what, spec := range map[string]image.Spec{"image: layer 1 of 1": zstd, "image: base: layer 1 of 1": based} {
		imagetest.Make(t, spec)
		spec.MediaTypes = image.Docker
		if _, err := image.New(spec); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "image.Gzip") {
			t.Errorf("error %v", err)
		}
	}
	m, err := imagetest.Make(t, image.Spec{Layers: []v1.Layer{layer(types.OCIUncompressedRestrictedLayer)}, MediaTypes: image.Docker}).Manifest()
	if err != nil || m.Layers[0].MediaType != types.OCIUncompressedRestrictedLayer {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestNewCannotBeEdited: what an image hands out is the caller's.
func TestNewCannotBeEdited(t *testing.T) {
	var opens imagetest.Opens
	spec := image.Spec{
		Layers: []v1.Layer{imagetest.Layer(t, &opens, map[string]string{"f": "1"})},
		File:   imagetest.File("linux", "amd64"), Annotations: map[string]string{"k": "v"},
	}
	img := imagetest.Make(t, spec)
	spec.Layers[0] = nil
	spec.Annotations["k"] = "x"
	spec.File.Config.Env[0] = "x"
	spec.File.History[0].CreatedBy = "x"
	m, _ := img.Manifest()
	m.Layers[0].Size = 0
	m.Annotations["k"] = "x"
	cf, _ := img.ConfigFile()
	cf.Config.Env[0] = "x"
	raw, _ := img.RawManifest()
	raw[0] = 'x'
	raw, _ = img.RawConfigFile()
	raw[0] = 'x'
	layers, _ := img.Layers()
	layers[0] = nil
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	f, err := image.FileOf(img)
	if m2, _ := img.Manifest(); err != nil || m2.Annotations["k"] != "v" || f.Config.Env[0] != "PATH=/bin" || f.History[0].CreatedBy == "x" {
		t.Errorf("%+v, %+v, %v", m2, f, err)
	}
}

func TestNewFindsLayers(t *testing.T) {
	var opens imagetest.Opens
	img := imagetest.Image(t, &opens, "text")
	layers, _ := img.Layers()
	digest, _ := layers[0].Digest()
	diffID, _ := layers[0].DiffID()
	if l, err := img.LayerByDigest(digest); err != nil || l != layers[0] {
		t.Errorf("by digest: %v, %v", l, err)
	}
	if l, err := img.LayerByDiffID(diffID); err != nil || l != layers[0] {
		t.Errorf("by diff ID: %v, %v", l, err)
	}
	name, _ := img.ConfigName()
	l, err := img.LayerByDigest(name)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(rc)
	if want, _ := img.RawConfigFile(); !bytes.Equal(got, want) {
		t.Errorf("the config as a layer: %s", got)
	}
	if _, err := img.LayerByDigest(diffID); err == nil || !strings.Contains(err.Error(), diffID.String()) {
		t.Errorf("error %v", err)
	}
	if _, err := img.LayerByDiffID(digest); err == nil {
		t.Error("a digest was found as a diff ID")
	}
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	file := imagetest.File("linux", "amd64")
	huge := file.Clone()
	huge.Config.Labels["x"] = strings.Repeat("x", image.MaxFileSize)
	for want, s := range map[string]image.Spec{
		"must be known":     {Layers: []v1.Layer{image.NewLayer(image.LayerInfo{})}},
		"layer 1 of 1":      {Layers: []v1.Layer{image.NewLayer(image.LayerInfo{})}},
		"the limit is":      {File: huge},
		"registries accept": {File: file, Annotations: map[string]string{"x": strings.Repeat("x", image.MaxManifestSize)}},
		"base: its manifest has 0 layers and its config 1": {Base: lyingBase{empty.Image}},
		"base: reading its manifest: unreadable":           {Base: unreadable{empty.Image}},
	} {
		if _, err := image.New(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// lyingBase has a diff ID without a layer.
type lyingBase struct{ v1.Image }

func (lyingBase) RawConfigFile() ([]byte, error) {
	return []byte(`{"rootfs":{"type":"layers","diff_ids":["` + imagetest.Digest(nil).String() + `"]}}`), nil
}

type unreadable struct{ v1.Image }

func (unreadable) Manifest() (*v1.Manifest, error) { return nil, errors.New("unreadable") }

func BenchmarkNew(b *testing.B) {
	var opens imagetest.Opens
	s := image.Spec{Layers: []v1.Layer{imagetest.Layer(b, &opens, map[string]string{"f": "1"})}, File: imagetest.File("linux", "amd64")}
	for b.Loop() {
		if _, err := image.New(s); err != nil {
			b.Fatal(err)
		}
	}
}
