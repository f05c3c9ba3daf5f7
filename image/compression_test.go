package image_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
)

// plain is a layer that is stored as the tar that it is.
func plain(t testing.TB, files map[string]string) v1.Layer {
	b := imagetest.Tar(t, files)
	return image.NewLayer(image.LayerInfo{
		Digest: imagetest.Digest(b), DiffID: imagetest.Digest(b), Size: int64(len(b)), MediaType: types.OCIUncompressedLayer,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
	})
}

func TestReplaceLayers(t *testing.T) {
	var opens imagetest.Opens
	one, two := map[string]string{"a": "1"}, map[string]string{"b": "2"}
	for family, want := range map[image.MediaTypes]types.MediaType{image.OCI: types.OCIUncompressedLayer, image.Docker: types.DockerUncompressedLayer} {
		spec := image.Spec{
			Layers: []v1.Layer{imagetest.Layer(t, &opens, one), imagetest.Layer(t, &opens, two)}, File: imagetest.File("linux", "amd64"), MediaTypes: family,
		}
		if family == image.OCI {
			spec.Annotations = map[string]string{"k": "v"}
		}
		img := imagetest.Make(t, spec)
		got, err := image.ReplaceLayers(img, []v1.Layer{nil, plain(t, two)})
		if err != nil {
			t.Fatal(err)
		}
		before, _ := img.Manifest()
		after, _ := got.Manifest()
		if after.Layers[0].Digest != before.Layers[0].Digest || after.Layers[0].MediaType != before.Layers[0].MediaType || after.Layers[1].MediaType != want ||
			after.MediaType != before.MediaType || len(after.Annotations) != len(before.Annotations) || opens.Load() != 0 {
			t.Errorf("%+v\nof %+v, %d opens", after, before, opens.Load())
		}
		a, _ := img.RawConfigFile()
		b, _ := got.RawConfigFile()
		if !bytes.Equal(a, b) || after.Config.Digest != before.Config.Digest || after.Config.MediaType != before.Config.MediaType {
			t.Errorf("config %s, want %s", b, a)
		}
		for wrong, layers := range map[string][]v1.Layer{
			"and there are 1 to replace them": {nil},
			"the diff IDs would be":           {nil, plain(t, one)},
		} {
			if _, err := image.ReplaceLayers(img, layers); err == nil || !strings.Contains(err.Error(), wrong) {
				t.Errorf("error %v, want %q", err, wrong)
			}
		}
	}
}

func TestCompressionWords(t *testing.T) {
	for f, want := range map[image.CompressionFormat]string{image.Gzip: "gzip tar+gzip", image.Zstd: "zstd tar+zstd", image.Uncompressed: "uncompressed tar", 9: "format 9 tar+gzip"} {
		if got := f.String() + " " + strings.TrimPrefix(string(f.MediaType()), "application/vnd.oci.image.layer.v1."); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// An image whose layer is stored uncompressed: the config, and so what runs, is the same.
func ExampleReplaceLayers() {
	tarball := bytes.Repeat([]byte{0}, 1024) // an empty tar
	gzipped := []byte("not looked at here")
	diffID, size, _ := v1.SHA256(bytes.NewReader(tarball))
	digest, _, _ := v1.SHA256(bytes.NewReader(gzipped))
	img, err := image.New(image.Spec{
		File:   image.File{OS: "linux", Architecture: "amd64"},
		Layers: []v1.Layer{image.NewLayer(image.LayerInfo{Digest: digest, DiffID: diffID, Size: int64(len(gzipped))})},
	})
	if err != nil {
		log.Fatal(err)
	}
	plain := image.NewLayer(image.LayerInfo{
		Digest: diffID, DiffID: diffID, Size: size, MediaType: image.Uncompressed.MediaType(),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(tarball)), nil },
	})
	other, err := image.ReplaceLayers(img, []v1.Layer{plain})
	if err != nil {
		log.Fatal(err)
	}
	before, _ := img.ConfigName()
	after, _ := other.ConfigName()
	m, err := other.Manifest()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(before == after, m.Layers[0].MediaType)
	// Output: true application/vnd.oci.image.layer.v1.tar
}
