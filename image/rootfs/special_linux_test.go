package rootfs_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/rootfs"
)

// TestDevicesAreNotOpened: an image can have any device of this machine, with attributes.
// Here it is one that is not there, whose node can be made and not opened.
func TestDevicesAreNotOpened(t *testing.T) {
	dir := t.TempDir()
	probe := filepath.Join(dir, "probe")
	const major, minor = 4000, 7
	if err := unix.Mknod(probe, unix.S_IFCHR|0o600, int(unix.Mkdev(major, minor))); err != nil {
		t.Skipf("device nodes cannot be made: %v", err)
	}
	if err := unix.Setxattr(probe, "trusted.note", []byte("x"), 0); err != nil {
		t.Skipf("attributes of device nodes cannot be set: %v", err)
	}
	if f, err := os.Open(probe); err == nil {
		f.Close()
		t.Skip("the device is there")
	}
	img := imagetest.Make(t, image.Spec{File: imagetest.File("linux", "amd64"), Layers: []v1.Layer{static.NewLayer(special(t), types.OCIUncompressedLayer)}})
	to := filepath.Join(dir, "out")
	if err := rootfs.Dir(to).Write(t.Context(), image.Artifact{Image: img}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"device", "pipe"} {
		var st unix.Stat_t
		value := make([]byte, 10)
		n, err := unix.Getxattr(filepath.Join(to, name), "trusted.note", value)
		if err = errors.Join(err, unix.Lstat(filepath.Join(to, name), &st)); err != nil || string(value[:max(n, 0)]) != "yes" || st.Mode&0o7777 != 0o640 {
			t.Errorf("%s: attribute %q, mode %o, %v", name, value[:max(n, 0)], st.Mode, err)
		}
	}
}

// TestLinkTimes: a link has the time that the image says, not its target's and not that of the writing.
func TestLinkTimes(t *testing.T) {
	layer := tarOf(t,
		tar.Header{Typeflag: tar.TypeReg, Name: "file", Mode: 0o644, ModTime: time.Unix(1000, 0)},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "dir/link", Linkname: "../file", ModTime: time.Unix(2000, 0)},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "dir/dangling", Linkname: "/nowhere", ModTime: time.Unix(3000, 0)},
	)
	img := imagetest.Make(t, image.Spec{File: imagetest.File("linux", "amd64"), Layers: []v1.Layer{static.NewLayer(layer, types.OCIUncompressedLayer)}})
	to := filepath.Join(t.TempDir(), "out")
	imagetest.Write(t, rootfs.Dir(to), image.Artifact{Image: img})
	for name, want := range map[string]int64{"file": 1000, "dir/link": 2000, "dir/dangling": 3000} {
		info, err := os.Lstat(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.ModTime().Unix(); got != want {
			t.Errorf("%s: time %d, want %d", name, got, want)
		}
	}
}

// special is a layer of a device and a pipe.
func special(t *testing.T) []byte {
	t.Helper()
	return tarOf(t,
		tar.Header{Typeflag: tar.TypeChar, Name: "device", Mode: 0o640, Devmajor: 4000, Devminor: 7, PAXRecords: map[string]string{"SCHILY.xattr.trusted.note": "yes"}},
		tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o640, PAXRecords: map[string]string{"SCHILY.xattr.trusted.note": "yes"}},
	)
}

func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
