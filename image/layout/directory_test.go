package layout_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/layout"
)

func blobOf(data string) image.Blob {
	sum := sha256.Sum256([]byte(data))
	return image.Blob{
		Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}, Size: int64(len(data)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(data))), nil },
	}
}

// bundle is a manifest that names blobs of the texts.
func bundle(t *testing.T, texts ...string) (v1.Descriptor, []byte, []image.Blob) {
	t.Helper()
	config := blobOf("{}")
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: config.Digest, Size: 2},
	}
	blobs := []image.Blob{config}
	for _, text := range texts {
		b := blobOf(text)
		blobs = append(blobs, b)
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: "text/plain", Digest: b.Digest, Size: b.Size})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	b := blobOf(string(raw))
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: b.Digest, Size: b.Size}, raw, blobs
}

func putBundle(t *testing.T, d *layout.Directory, tag string, texts ...string) {
	t.Helper()
	desc, raw, blobs := bundle(t, texts...)
	if _, err := d.Put(t.Context(), tag, desc, raw, blobs); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, d *layout.Directory, text string) bool {
	t.Helper()
	b := blobOf(text)
	f, err := d.Blob(t.Context(), v1.Descriptor{Digest: b.Digest, Size: b.Size})
	if err == nil {
		f.Close()
		return true
	}
	if !errors.Is(err, layout.ErrNotFound) {
		t.Error(err)
	}
	return false
}

// TestDirectoryDelete: a row goes with the blobs that only its manifest names. Those of other rows, and of images, stay.
func TestDirectoryDelete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "layout")
	d := layout.OpenDirectory(path)
	all := func(string) bool { return true }
	if tags, err := d.Tags(t.Context(), all); err != nil || tags != nil {
		t.Errorf("where nothing is: %q, %v", tags, err)
	}
	if err := d.Delete(t.Context(), []string{"a"}); err != nil {
		t.Error(err)
	}
	var opens imagetest.Opens
	img := imagetest.Image(t, &opens, "text")
	imagetest.Write(t, layout.Dir(path, "app:1"), image.Artifact{Image: img})
	putBundle(t, d, "a", "of a", "of both")
	putBundle(t, d, "b", "of b", "of both")
	putBundle(t, d, "c", "of c")
	if tags, err := d.Tags(t.Context(), all); err != nil || !slices.Equal(tags, []string{"1", "a", "b", "c"}) {
		t.Errorf("%q, %v", tags, err)
	}
	if err := d.Delete(t.Context(), []string{"a", "nothing", "1"}); err != nil {
		t.Fatal(err)
	}
	if tags, err := d.Tags(t.Context(), all); err != nil || !slices.Equal(tags, []string{"1", "b", "c"}) {
		t.Errorf("%q, %v", tags, err)
	}
	for text, want := range map[string]bool{"of a": false, "of both": true, "of b": true, "of c": true, "{}": true} {
		if got := has(t, d, text); got != want {
			t.Errorf("%q is there: %v", text, got)
		}
	}
	if _, err := layout.Read(path, "app:1"); err != nil {
		t.Errorf("the image: %v", err)
	}
	_, raw, _ := bundle(t, "of a", "of both")
	if has(t, d, string(raw)) {
		t.Error("the manifest of the row that went is there")
	}

	// Where it cannot be known what a row names, nothing but the row goes.
	_, broken, _ := bundle(t, "of c")
	b := blobOf(string(broken))
	if err := os.Remove(filepath.Join(path, "blobs", "sha256", b.Digest.Hex)); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(t.Context(), []string{"b"}); err != nil {
		t.Fatal(err)
	}
	if !has(t, d, "of b") {
		t.Error("a blob went though a row could not be read")
	}
	if _, _, err := d.Manifest(t.Context(), "b"); !errors.Is(err, layout.ErrNotFound) {
		t.Errorf("a manifest that was deleted: %v", err)
	}
	if _, _, err := d.Manifest(t.Context(), "c"); !errors.Is(err, layout.ErrNotFound) {
		t.Errorf("a manifest whose blob is gone: %v", err)
	}
}

// TestDirectoryPutFails: a blob that cannot be read, or is another, leaves nothing behind.
func TestDirectoryPutFails(t *testing.T) {
	for name, open := range map[string]func(context.Context) (io.ReadCloser, error){
		"unreadable": func(context.Context) (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF },
		"another":    blobOf("other").Open,
	} {
		for _, there := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, there %v", name, there), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "layout")
				d := layout.OpenDirectory(path)
				if there {
					putBundle(t, d, "a", "of a")
				}
				desc, raw, blobs := bundle(t, "of b", "texts")
				blobs[2].Open = open
				if _, err := d.Put(t.Context(), "b", desc, raw, blobs); err == nil {
					t.Fatal("no error")
				}
				tags, err := d.Tags(t.Context(), func(string) bool { return true })
				if err != nil || len(tags) != map[bool]int{true: 1}[there] {
					t.Errorf("%q, %v", tags, err)
				}
				if !there {
					if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("the directory: %v", err)
					}
					return
				}
				if has(t, d, "of b") || !has(t, d, "of a") {
					t.Error("blobs of what failed are there, or others are not")
				}
			})
		}
	}
}

// TestDirectoryRefuses: what is no layout is neither read nor written.
func TestDirectoryRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letter"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	d := layout.OpenDirectory(dir)
	desc, raw, blobs := bundle(t)
	_, putErr := d.Put(t.Context(), "a", desc, raw, blobs)
	_, tagsErr := d.Tags(t.Context(), func(string) bool { return true })
	for _, err := range []error{putErr, tagsErr, d.Delete(t.Context(), []string{"a"})} {
		if !errors.Is(err, layout.ErrNotLayout) {
			t.Errorf("%v", err)
		}
	}
}
