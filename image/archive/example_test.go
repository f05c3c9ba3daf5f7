package archive_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/platform"
)

// A file for `docker load -i app.tar`.
func ExampleDocker() {
	tmp, err := os.MkdirTemp("", "archive")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "amd64"}})
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(tmp, "app.tar")
	if err := archive.Docker(path, "app:1.0").Write(context.Background(), image.Artifact{Image: img}); err != nil {
		log.Fatal(err)
	}
	list(path)
	// Output:
	// oci-layout
	// index.json
	// manifest.json
	// blobs/
	// blobs/sha256/
	// blobs/sha256/…
	// blobs/sha256/…
}

// docker load takes one image, so an index needs a choice when it is not for this machine.
func ExampleDockerWith() {
	tmp, err := os.MkdirTemp("", "archive")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	index := twoPlatforms()
	sink := archive.DockerWith(filepath.Join(tmp, "app.tar"), archive.Options{Platform: platform.MustParse("linux/riscv64")}, "app:1.0")
	err = sink.Write(context.Background(), index)
	_, why, _ := strings.Cut(err.Error(), "app.tar: ")
	fmt.Println(why)

	sink = archive.DockerWith(filepath.Join(tmp, "app.tar"), archive.Options{Platform: platform.MustParse("linux/arm64")}, "app:1.0")
	fmt.Println(sink.Write(context.Background(), index))
	// Output:
	// the index has no image for linux/riscv64, only for [linux/amd64 linux/arm64]; choose one in Options.Platform
	// <nil>
}

// Straight into a program, without a file in between.
func ExampleWriteDocker() {
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "amd64"}})
	if err != nil {
		log.Fatal(err)
	}
	load := exec.Command("tar", "-tf", "-") // in its place: docker load
	load.Stdout = os.Stdout
	in, err := load.StdinPipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := load.Start(); err != nil {
		log.Fatal(err)
	}
	if err := archive.WriteDocker(context.Background(), in, archive.Options{}, image.Artifact{Image: img}, "app:1.0"); err != nil {
		log.Fatal(err) // load must not take the rest for the whole
	}
	if err := errors.Join(in.Close(), load.Wait()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// oci-layout
	// index.json
	// manifest.json
	// blobs/
	// blobs/sha256/
	// blobs/sha256/7de68661d104d29da61b8707b27f3ea0f6b0ec900fe1a1cb452f850011637945
	// blobs/sha256/6a485a2a909bb10a0a837b85e931e7f866ef751a602a315fa4385be4a779fbf4
}

// One file with the images of every platform.
func ExampleOCI() {
	tmp, err := os.MkdirTemp("", "archive")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	path := filepath.Join(tmp, "app.tar")
	if err := archive.OCI(path, "app:1.0").Write(context.Background(), twoPlatforms()); err != nil {
		log.Fatal(err)
	}
	list(path) // a config and a manifest for each platform, and their index
	// Output:
	// oci-layout
	// index.json
	// blobs/
	// blobs/sha256/
	// blobs/sha256/…
	// blobs/sha256/…
	// blobs/sha256/…
	// blobs/sha256/…
	// blobs/sha256/…
}

func twoPlatforms() image.Artifact {
	var children []image.Child
	for _, p := range platform.MustParseSet("linux/amd64,linux/arm64") {
		img, err := image.New(image.Spec{File: image.File{OS: p.OS, Architecture: p.Architecture}})
		if err != nil {
			log.Fatal(err)
		}
		children = append(children, image.Child{Image: img})
	}
	index, err := image.NewIndex(children, nil)
	if err != nil {
		log.Fatal(err)
	}
	return image.Artifact{Index: index}
}

func list(path string) {
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg && strings.HasPrefix(h.Name, "blobs/sha256/") {
			h.Name = "blobs/sha256/…"
		}
		fmt.Println(h.Name)
	}
}
