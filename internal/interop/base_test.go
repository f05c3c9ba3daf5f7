package interop

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/platform"
)

// platforms of the fixture.
var platforms = platform.MustParseSet("linux/amd64,linux/arm64")

// baseLayers are the layers of the base image, written by hand as another builder may write them: with an opaque directory, whiteouts, and a
// layer without any entry.
var baseLayers = [][]entry{
	{
		dir("./", 0o755), dir("etc/", 0o755), text("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:an app:/srv/app:/bin/sh\n"),
		text("etc/group", 0o644, "root:x:0:\ncrew:x:1001:\nhelpers:x:1002:app\n"),
		dir("proc/", 0o555), dir("sys/", 0o555), dir("dev/", 0o755), dir("run/", 0o755), dir("tmp/", 0o1777), dir("bin/", 0o755),
		dir("base/", 0o755), text("base/kept", 0o644, "kept"), text("base/removed", 0o644, "removed by the base's second layer"),
		text("base/removed-later", 0o644, "removed by the build"), text("base/replaced", 0o600, "replaced by a directory"),
		dir("base/opaque/", 0o755), text("base/opaque/old", 0o644, "hidden"), dir("base/opaque/olddir/", 0o755),
		dir("base/emptied/", 0o750), text("base/emptied/a", 0o644, "a"), text("base/emptied/b", 0o644, "b"),
		dir("base/remade/", 0o700), text("base/remade/old", 0o644, "old"), dir("base/becomes-file/", 0o755), text("base/becomes-file/x", 0o644, "x"),
		text("base/linked", 0o640, "a file with a name in a lower layer and one in a higher"),
	},
	{
		dir("base/", 0o755), text("base/.wh.removed", 0, ""),
		dir("base/opaque/", 0o711), text("base/opaque/.wh..wh..opq", 0, ""), text("base/opaque/new", 0o644, "new"),
	},
	{},
}

// entry is one entry of a tar.
type entry struct {
	tar.Header
	content string
}

func dir(name string, mode int64) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}, ""}
}

func text(name string, mode int64, content string) entry {
	return entry{tar.Header{Name: name, Mode: mode}, content}
}

// tarOf writes a tar. Files are the default type, and all have one time, which is not the one that stagewright gives.
func tarOf(entries []entry) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := e.Header
		h.Size, h.ModTime, h.Format = int64(len(e.content)), time.Unix(1600000000, 0), tar.FormatPAX
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

// writeBase makes the base image in the OCI layout at path, under the name base.
func writeBase(t testing.TB, path string) {
	t.Helper()
	var layers []v1.Layer
	for _, entries := range baseLayers {
		l, err := zipped(entries)
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, l)
	}
	var children []image.Child
	for _, p := range platforms {
		file := image.File{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, Config: image.Config{Env: []string{"PATH=/bin"}}}
		for range layers {
			file.History = append(file.History, image.History{CreatedBy: "by hand"})
		}
		img, err := image.New(image.Spec{Layers: layers, File: file})
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, image.Child{Image: img})
	}
	index, err := image.NewIndex(children, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Dir(path, "base").Write(t.Context(), image.Artifact{Index: index}); err != nil {
		t.Fatal(err)
	}
}

// zipped makes a layer as another builder would: with the gzip of Go's standard library.
func zipped(entries []entry) (v1.Layer, error) {
	data, err := tarOf(entries)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	blob := buf.Bytes()
	return image.NewLayer(image.LayerInfo{
		Digest: hash(blob), DiffID: hash(data), Size: int64(len(blob)), MediaType: types.OCILayer,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil },
	}), nil
}

func hash(data []byte) v1.Hash {
	sum := sha256.Sum256(data)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}
