package image_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	push "github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
)

// Two machines have built for one platform each and left an OCI layout; a third joins them to one index and pushes it.
func ExampleJoin() {
	dir, err := os.MkdirTemp("", "join")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/app:1.0"
	ctx := context.Background()

	var parts []image.Artifact
	for _, p := range platform.MustParseSet("linux/amd64,linux/arm64") {
		img, err := image.New(image.Spec{File: image.File{OS: p.OS, Architecture: p.Architecture}})
		if err != nil {
			log.Fatal(err)
		}
		from := filepath.Join(dir, p.Architecture)
		if err := layout.Dir(from, "app:1.0").Write(ctx, image.Artifact{Image: img}); err != nil {
			log.Fatal(err)
		}
		part, err := layout.Read(from, "app:1.0")
		if err != nil {
			log.Fatal(err)
		}
		parts = append(parts, part)
	}
	index, err := image.Join(parts, map[string]string{"org.opencontainers.image.version": "1.0"})
	if err != nil {
		log.Fatal(err)
	}
	if err := push.Push(ref).Write(ctx, image.Artifact{Index: index}); err != nil {
		log.Fatal(err)
	}
	arm, err := push.NewClient(push.Options{}).Resolve(ctx, ref, platform.MustParse("linux/arm64"))
	if err != nil {
		log.Fatal(err)
	}
	file, err := image.FileOf(arm.Image)
	fmt.Println(file.Architecture, err)
	// Output: arm64 <nil>
}
