package image_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
)

// An image is known, digest and all, before anything is stored anywhere.
func ExampleNew() {
	img, err := image.New(image.Spec{
		File: image.File{
			OS: "linux", Architecture: "amd64",
			Config: image.Config{Cmd: []string{"/app"}, ExposedPorts: map[string]struct{}{"8080/tcp": {}}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(config))
	// Output:
	// {"architecture":"amd64","config":{"ExposedPorts":{"8080/tcp":{}},"Cmd":["/app"]},"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}
}

func ExampleNewIndex() {
	var children []image.Child
	for _, p := range platform.MustParseSet("linux/amd64,linux/arm64") {
		img, err := image.New(image.Spec{File: image.File{OS: p.OS, Architecture: p.Architecture}})
		if err != nil {
			log.Fatal(err)
		}
		children = append(children, image.Child{Image: img, Platform: p})
	}
	index, err := image.NewIndex(children, map[string]string{"org.opencontainers.image.title": "app"})
	if err != nil {
		log.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		log.Fatal(err)
	}
	for _, child := range m.Manifests {
		fmt.Println(child.Platform)
	}
	// Output:
	// linux/amd64
	// linux/arm64
}

// A layer that is described, and opened only when somebody reads it.
func ExampleNewLayer() {
	tarball := []byte("any tar file")
	var stored bytes.Buffer
	zw := gzip.NewWriter(&stored)
	zw.Write(tarball)
	zw.Close()

	digest, size, _ := v1.SHA256(bytes.NewReader(stored.Bytes()))
	diffID, _, _ := v1.SHA256(bytes.NewReader(tarball))
	layer := image.NewLayer(image.LayerInfo{
		Digest: digest, DiffID: diffID, Size: size,
		Open: func() (io.ReadCloser, error) {
			fmt.Println("opened")
			return io.NopCloser(bytes.NewReader(stored.Bytes())), nil
		},
	})
	img, err := image.New(image.Spec{Layers: []v1.Layer{layer}, File: image.File{OS: "linux", Architecture: "amd64"}})
	if err != nil {
		log.Fatal(err)
	}
	layers, _ := img.Layers()
	fmt.Println(len(layers), "layer, not opened yet")
	r, err := layers[0].Uncompressed()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	fmt.Println(string(b))
	// Output:
	// 1 layer, not opened yet
	// opened
	// any tar file
}

// A config is read, changed and written; what this package does not know stays in it.
func ExampleParseFile() {
	f, err := image.ParseFile([]byte(`{"os":"linux","architecture":"amd64","config":{"Cmd":["sh"]},"com.example.note":"kept"}`))
	if err != nil {
		log.Fatal(err)
	}
	f.Config.User = "nobody"
	b, err := f.Marshal()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(b))
	// Output:
	// {"architecture":"amd64","com.example.note":"kept","config":{"User":"nobody","Cmd":["sh"]},"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}
}

func ExampleFileOf() {
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "arm64", Config: image.Config{User: "nobody"}}})
	if err != nil {
		log.Fatal(err)
	}
	f, err := image.FileOf(img)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.OS, f.Architecture, f.Config.User)
	// Output: linux arm64 nobody
}

// Bytes that are not those of their digest are an error where the end would be.
func ExampleVerify() {
	digest, size, _ := v1.SHA256(strings.NewReader("content"))
	r, err := image.Verify(io.NopCloser(strings.NewReader("c0ntent")), digest, size)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	_, err = io.ReadAll(r)
	fmt.Println(strings.Contains(err.Error(), "content of "+digest.String()))
	// Output: true
}

// A sink of one's own is one method.
func ExampleSinkFunc() {
	sink := image.SinkFunc(func(ctx context.Context, a image.Artifact) error {
		_, d, err := a.Manifest()
		fmt.Println(d.MediaType)
		return err
	})
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "amd64"}})
	if err != nil {
		log.Fatal(err)
	}
	if err := sink.Write(context.Background(), image.Artifact{Image: img}); err != nil {
		log.Fatal(err)
	}
	// Output: application/vnd.oci.image.manifest.v1+json
}

// A sink that is a function says nothing of itself but its type.
func ExampleDeliver() {
	sink := image.SinkFunc(func(context.Context, image.Artifact) error { return nil })
	d, err := image.Deliver(context.Background(), sink, image.Artifact{}, nil)
	fmt.Println(d.How, err, image.SinkName(sink))
	// Output: written <nil> image.SinkFunc
}

// A bill of materials that belongs to an image: a registry lists it as a referrer of that image.
func ExampleNewAttachment() {
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "amd64"}})
	if err != nil {
		log.Fatal(err)
	}
	_, subject, err := image.Artifact{Image: img}.Manifest()
	if err != nil {
		log.Fatal(err)
	}
	sbom, err := image.NewAttachment(image.Attachment{
		ArtifactType: "application/spdx+json",
		Subject:      subject,
		Files:        []image.AttachedFile{{Name: "sbom.json", MediaType: "application/spdx+json", Data: []byte(`{"spdxVersion":"SPDX-2.3"}`)}},
	})
	if err != nil {
		log.Fatal(err)
	}
	m, err := sbom.Manifest()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.ArtifactType, m.Subject.Digest == subject.Digest, m.Layers[0].Annotations["org.opencontainers.image.title"])
	// Output: application/spdx+json true sbom.json
}

// What has the form of an image and is none is told by the media type of its config.
func ExampleIsContainerConfig() {
	chart := types.MediaType("application/vnd.cncf.helm.config.v1+json")
	fmt.Println(image.IsContainerConfig(types.OCIConfigJSON), image.IsContainerConfig(chart))
	// Output: true false
}

// A cache hashes what it keeps, and compares the digest itself.
func ExampleOpenUnhashed() {
	digest, size, _ := v1.SHA256(strings.NewReader("content"))
	layer := image.NewLayer(image.LayerInfo{Digest: digest, DiffID: digest, Size: size, OpenContext: func(context.Context) (io.ReadCloser, error) {
		return image.Verify(io.NopCloser(strings.NewReader("c0ntent")), digest, size)
	}})
	rc, err := image.OpenUnhashed(context.Background(), layer)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rc.Close()
	kept := sha256.New()
	_, err = io.Copy(kept, rc)
	fmt.Println(err, hex.EncodeToString(kept.Sum(nil)) == digest.Hex)
	// Output: <nil> false
}
