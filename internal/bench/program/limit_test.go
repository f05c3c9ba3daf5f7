package main

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/gzip"
)

func serve(t *testing.T) (address string) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// What the limit sends is in the registry, under its digest, and is a layer of the files.
func TestLimit(t *testing.T) {
	address, context, own := serve(t), t.TempDir(), t.TempDir()
	large := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	if err := os.WriteFile(filepath.Join(context, "a"), large, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := limit(t.Context(), config{push: address + "/some/where:1.0", cacheDir: own, dirs: []string{context}}); err != nil {
		t.Fatal(err)
	}
	blob, err := os.ReadFile(filepath.Join(own, "limit.blob"))
	if err != nil {
		t.Fatal(err)
	}
	digest, _, err := v1.SHA256(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewDigest(address + "/some/where@" + digest.String())
	if err != nil {
		t.Fatal(err)
	}
	layer, err := remote.Layer(ref)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer sent.Close()
	zr, err := gzip.NewReader(sent)
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(zr)
	h, err := tr.Next()
	if err != nil || h.Name != "a" {
		t.Fatalf("%+v, %v", h, err)
	}
	if got, err := io.ReadAll(tr); err != nil || !bytes.Equal(got, large) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A registry that refuses the upload fails the limit: a figure of it would mean nothing.
func TestLimitRefused(t *testing.T) {
	server := httptest.NewServer(nil)
	address := strings.TrimPrefix(server.URL, "http://")
	server.Close()
	if err := limit(t.Context(), config{push: address + "/some/where:1.0", cacheDir: t.TempDir(), dirs: []string{t.TempDir()}}); err == nil {
		t.Error("no error")
	}
}

// Every layer of the base is unpacked, and one that is not what its manifest says is an error.
func TestFetch(t *testing.T) {
	address := serve(t)
	img := empty.Image
	for _, files := range []string{"usr/bin/one", "usr/lib/two"} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range []tar.Header{
			{Typeflag: tar.TypeSymlink, Name: filepath.Base(files), Linkname: files},
			{Typeflag: tar.TypeDir, Name: filepath.Dir(files) + "/", Mode: 0o755},
			{Typeflag: tar.TypeReg, Name: files, Mode: 0o755, Size: 3},
			{Typeflag: tar.TypeSymlink, Name: files + ".link", Linkname: filepath.Base(files)},
			{Typeflag: tar.TypeLink, Name: files + ".hard", Linkname: files},
		} {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Size > 0 {
				io.WriteString(w, "abc")
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	ref, err := name.NewTag(address + "/bases/some:latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	if err := fetch(t.Context(), ref.String(), root); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"one", "two", "usr/bin/one", "usr/bin/one.link", "usr/bin/one.hard", "usr/lib/two", "usr/lib/two.link", "usr/lib/two.hard"} {
		if got, err := os.ReadFile(filepath.Join(root, file)); err != nil || string(got) != "abc" {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}
