package layout_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
)

// A manifest of one's own, beside the images of a layout.
func ExampleOpenDirectory() {
	ctx := context.Background()
	parent, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(parent)
	describe := func(mt types.MediaType, data string) v1.Descriptor {
		sum := sha256.Sum256([]byte(data))
		return v1.Descriptor{MediaType: mt, Size: int64(len(data)), Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}}
	}
	config := describe("application/vnd.oci.empty.v1+json", "{}")
	raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[]}`,
		types.OCIManifestSchema1, config.MediaType, config.Digest)

	d := layout.OpenDirectory(filepath.Join(parent, "layout"))
	done, err := d.Put(ctx, "notes", describe(types.OCIManifestSchema1, raw), []byte(raw), []image.Blob{{
		Digest: config.Digest, Size: config.Size,
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte("{}"))), nil },
	}})
	fmt.Println(done.Blobs, "blobs,", err)
	tags, err := d.Tags(ctx, func(string) bool { return true })
	fmt.Println(tags, err)
	// Output:
	// 2 blobs, <nil>
	// [notes] <nil>
}
