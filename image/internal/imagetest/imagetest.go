// Package imagetest makes small images for the tests of package image and its media, and counts how often their layers are opened.
package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
)

// Opens counts how often layers were opened.
type Opens struct{ atomic.Int64 }

// Digest is the SHA-256 of b.
func Digest(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// Tar returns a tar of files by path.
func Tar(tb testing.TB, files map[string]string) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o644, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// Gzip compresses b.
func Gzip(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// Layer returns a gzip layer of files.
func Layer(tb testing.TB, opens *Opens, files map[string]string) v1.Layer {
	tb.Helper()
	tarball := Tar(tb, files)
	stored := Gzip(tb, tarball)
	return image.NewLayer(image.LayerInfo{
		Digest: Digest(stored), DiffID: Digest(tarball), Size: int64(len(stored)), MediaType: types.OCILayer,
		Open: func() (io.ReadCloser, error) {
			opens.Add(1)
			return io.NopCloser(bytes.NewReader(stored)), nil
		},
	})
}

// Lying returns a layer whose bytes are not those of its digest.
func Lying(tb testing.TB, files map[string]string) v1.Layer {
	tb.Helper()
	tarball := Tar(tb, files)
	stored := Gzip(tb, tarball)
	digest := Digest(stored)
	stored[len(stored)-1] ^= 1
	return image.NewLayer(image.LayerInfo{
		Digest: digest, DiffID: Digest(tarball), Size: int64(len(stored)), MediaType: types.OCILayer,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(stored)), nil },
	})
}

// File is a config for a platform.
func File(os, arch string) image.File {
	epoch := time.Unix(0, 0).UTC()
	return image.File{
		Created: &epoch, OS: os, Architecture: arch,
		Config:  image.Config{Env: []string{"PATH=/bin"}, Cmd: []string{"/app"}, Labels: map[string]string{"a": "1"}},
		History: []image.History{{Created: &epoch, CreatedBy: "COPY . . # buildkit", Comment: "buildkit.dockerfile.v0"}},
	}
}

// Image returns an image of one layer with two files for linux/amd64; text is the content of one.
func Image(tb testing.TB, opens *Opens, text string) v1.Image {
	tb.Helper()
	return ImageFor(tb, opens, text, "linux", "amd64")
}

// ImageFor is Image for a platform.
func ImageFor(tb testing.TB, opens *Opens, text, os, arch string) v1.Image {
	tb.Helper()
	return Make(tb, image.Spec{
		Layers: []v1.Layer{Layer(tb, opens, map[string]string{"app": text, "etc/version": "1"})},
		File:   File(os, arch),
	})
}

// Make is image.New.
func Make(tb testing.TB, s image.Spec) v1.Image {
	tb.Helper()
	img, err := image.New(s)
	if err != nil {
		tb.Fatal(err)
	}
	return img
}

// Index returns an index of images for linux/amd64 and linux/arm64.
func Index(tb testing.TB, opens *Opens, text string) v1.ImageIndex {
	tb.Helper()
	x, err := image.NewIndex([]image.Child{
		{Image: ImageFor(tb, opens, text+" amd64", "linux", "amd64")},
		{Image: ImageFor(tb, opens, text+" arm64", "linux", "arm64")},
	}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}
