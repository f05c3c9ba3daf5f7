package rootfs_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/rootfs"
)

// layer makes a layer of tar entries; a name that ends in "/" is a directory.
func layer(t *testing.T, entries ...tar.Header) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		body := h.PAXRecords["body"]
		h.PAXRecords = nil
		h.Size = int64(len(body))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return static.NewLayer(b.Bytes(), types.OCIUncompressedLayer)
}

func file(name, body string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, PAXRecords: map[string]string{"body": body}}
}

func sample(t *testing.T) v1.Image {
	return imagetest.Make(t, image.Spec{
		File: imagetest.File("linux", "amd64"),
		Layers: []v1.Layer{
			layer(t,
				tar.Header{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o755},
				file("etc/old", "old"), file("etc/name", "first"),
				tar.Header{Typeflag: tar.TypeLink, Name: "etc/alias", Linkname: "etc/name"},
				tar.Header{Typeflag: tar.TypeSymlink, Name: "outside", Linkname: "/tmp"},
				tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
				tar.Header{Typeflag: tar.TypeDir, Name: "closed/", Mode: 0o500}, file("closed/in", "x"),
			),
			layer(t, file("etc/.wh.old", ""),
				tar.Header{Typeflag: tar.TypeReg, Name: "etc/su", Mode: 0o4755, PAXRecords: map[string]string{"body": "su"}},
				file("outside/planted", "stays inside")),
		},
	})
}

// list reads a directory as name -> mode and content.
func list(t *testing.T, dir string) map[string]string {
	t.Helper()
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "closed"), 0o700) })
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		text := fi.Mode().String()
		switch {
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text += " " + string(b)
		case fi.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(p)
			text = "-> " + target
		}
		rel, _ := filepath.Rel(dir, p)
		got[rel] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

var want = map[string]string{
	"etc": "drwxr-xr-x", "etc/name": "-rw-r--r-- first", "etc/alias": "-rw-r--r-- first", "etc/su": "urwxr-xr-x su",
	"outside": "-> /tmp", "tmp": "dtrwxrwxrwx", "tmp/planted": "-rw-r--r-- stays inside",
	"closed": "dr-x------", "closed/in": "-rw-r--r-- x",
}

func TestDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "root")
	if err := rootfs.Dir(dir).Write(t.Context(), image.Artifact{Image: sample(t)}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, list(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	a, _ := os.Stat(filepath.Join(dir, "etc/name"))
	b, _ := os.Stat(filepath.Join(dir, "etc/alias"))
	if !os.SameFile(a, b) {
		t.Error("the hard link became a file of its own")
	}
	if names, _ := os.ReadDir(filepath.Dir(dir)); len(names) != 1 {
		t.Errorf("beside the destination are left: %v", names)
	}
	if _, err := os.Lstat("/tmp/planted"); err == nil {
		t.Error("a file was written through a link out of the destination")
	}
}

func TestDirThatHasFiles(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{"mine": "mine", "etc": "in the way"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := rootfs.Dir(dir).Write(t.Context(), image.Artifact{Image: sample(t)})
	if !errors.Is(err, rootfs.ErrNotEmpty) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v does not say that %s is not empty", err, dir)
	}
	if got := list(t, dir); len(got) != 2 {
		t.Errorf("a refused write left %v", got)
	}
	for range 2 { // the second time over its own files
		if err := rootfs.DirWith(dir, rootfs.Options{Merge: true}).Write(t.Context(), image.Artifact{Image: sample(t)}); err != nil {
			t.Fatal(err)
		}
	}
	got := list(t, dir)
	if got["mine"] != "-rw-r--r-- mine" {
		t.Errorf("a file that the image does not have is now %q", got["mine"])
	}
	delete(got, "mine")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestEmptyDir: a directory that is there and empty is filled as it is. It may be a mount point, or all that an ordinary user may write to:
// the directory above, which others may not write to either, is not needed.
func TestEmptyDir(t *testing.T) {
	above := t.TempDir()
	dir := filepath.Join(above, "root")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(above, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(above, 0o755)
	broken := imagetest.Make(t, image.Spec{
		File:   imagetest.File("linux", "amd64"),
		Layers: []v1.Layer{layer(t, file("a", "a")), imagetest.Broken(1<<20, func() {})},
	})
	if err := rootfs.Dir(dir).Write(t.Context(), image.Artifact{Image: broken}); err == nil {
		t.Error("a broken image was written")
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("a failed write left %v", names)
	}
	if err := rootfs.Dir(dir).Write(t.Context(), image.Artifact{Image: sample(t)}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, list(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if after, err := os.Stat(dir); err != nil || !os.SameFile(before, after) {
		t.Errorf("another directory took its place, %v", err)
	}
}

// TestMergeFollowsNoLink merges into a directory in which a link leads out.
func TestMergeFollowsNoLink(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "etc")); err != nil {
		t.Skip(err)
	}
	if err := rootfs.DirWith(dir, rootfs.Options{Merge: true}).Write(t.Context(), image.Artifact{Image: sample(t)}); err != nil {
		t.Fatal(err)
	}
	list(t, dir) // which lets the directory be removed
	if names, _ := os.ReadDir(outside); len(names) > 0 {
		t.Errorf("files outside of the destination: %v", names)
	}
}

func TestIndex(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "root")
	a := image.Artifact{Index: imagetest.Index(t, new(imagetest.Opens), "text")}
	if err := rootfs.Dir(dir).Write(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	got := list(t, dir)
	for _, p := range []string{"linux_amd64", "linux_arm64"} {
		if !strings.HasPrefix(got[p], "d") {
			t.Errorf("no directory %s: %v", p, got)
		}
	}
}

func TestTar(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.tar")
	a := image.Artifact{Image: sample(t)}
	if err := rootfs.Tar(path).Write(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := rootfs.TarTo(&again).Write(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, again.Bytes()) {
		t.Error("the same image gave two different tars")
	}
	var names []string
	for r := tar.NewReader(&again); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	wantNames := []string{"closed/", "closed/in", "etc/", "etc/alias", "etc/name", "etc/su", "outside", "tmp/", "tmp/planted"}
	if diff := cmp.Diff(wantNames, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestBroken writes an image whose second layer cannot be read.
func TestBroken(t *testing.T) {
	img := imagetest.Make(t, image.Spec{
		File:   imagetest.File("linux", "amd64"),
		Layers: []v1.Layer{layer(t, file("a", "a")), imagetest.Broken(1<<20, func() {})},
	})
	dir := t.TempDir()
	for _, sink := range []image.Sink{rootfs.Dir(filepath.Join(dir, "new")), rootfs.Tar(filepath.Join(dir, "new.tar"))} {
		if err := sink.Write(t.Context(), image.Artifact{Image: img}); err == nil {
			t.Errorf("%v: no error", sink)
		}
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("a failed write left %v", names)
	}
}
