package layout_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/platform"
)

// A directory that skopeo, umoci, podman and every other OCI tool can read, with one image under two names.
func ExampleDir() {
	tmp, err := os.MkdirTemp("", "layout")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "amd64"}})
	if err != nil {
		log.Fatal(err)
	}
	dir := filepath.Join(tmp, "oci")
	sink := layout.Dir(dir, "app:1.0", "registry.example.com/app:1.0")
	if err := sink.Write(context.Background(), image.Artifact{Image: img}); err != nil {
		log.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range files {
		fmt.Println(f.Name())
	}
	// Output:
	// blobs
	// index.json
	// oci-layout
}

// An image is read back by any of its names.
func ExampleRead() {
	tmp, err := os.MkdirTemp("", "layout")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "amd64", Config: image.Config{User: "nobody"}}})
	if err != nil {
		log.Fatal(err)
	}
	if err := layout.Dir(tmp, "app:1.0").Write(context.Background(), image.Artifact{Image: img}); err != nil {
		log.Fatal(err)
	}

	got, err := layout.Read(tmp, "app:1.0")
	if err != nil {
		log.Fatal(err)
	}
	f, err := image.FileOf(got.Image)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Config.User)

	_, err = layout.Read(tmp, "app:2.0")
	fmt.Println(err != nil)
	// Output:
	// nobody
	// true
}

// The image of a name for one platform, as a build that stands on it needs it.
func ExampleResolve() {
	tmp, err := os.MkdirTemp("", "layout")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "arm64"}})
	if err != nil {
		log.Fatal(err)
	}
	if err := layout.Dir(tmp, "app:1.0").Write(context.Background(), image.Artifact{Image: img}); err != nil {
		log.Fatal(err)
	}
	r, err := layout.Resolve(context.Background(), tmp, "app:1.0", platform.MustParse("linux/arm64"))
	fmt.Println(r.Top == r.Digest, err)
	_, err = layout.Resolve(context.Background(), tmp, "app:1.0", platform.MustParse("linux/amd64"))
	fmt.Println(err != nil)
	// Output:
	// true <nil>
	// true
}
