package imagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
)

// Write is s.Write, and fails the test when that does.
func Write(tb testing.TB, s image.Sink, a image.Artifact) {
	tb.Helper()
	if err := s.Write(context.Background(), a); err != nil {
		tb.Fatal(err)
	}
}

// Snapshot returns the content of every file below dir by its path, and "dir" for each directory.
func Snapshot(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			m[rel] = "dir"
			return nil
		}
		b, err := os.ReadFile(p)
		m[rel] = string(b)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// SameFiles fails the test unless two snapshots are equal.
func SameFiles(tb testing.TB, what string, want, got map[string]string) {
	tb.Helper()
	if maps.Equal(want, got) {
		return
	}
	tb.Errorf("%s: the files are\n%s\nwant\n%s", what, names(got), names(want))
}

func names(m map[string]string) string { return strings.Join(slices.Sorted(maps.Keys(m)), "\n") }

// Tool skips the test when a program is not installed, and returns its path.
func Tool(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		tb.Skipf("%s is not installed (Debian: apt-get install %s)", name, name)
	}
	return path
}

// Output runs a program and returns what it writes to its standard output.
func Output(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(Tool(tb, name), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

// ErrBroken is what reading a Broken layer ends with.
var ErrBroken = errors.New("the layer cannot be read further")

// Broken returns a layer of size bytes that fails after half of them. Called at that moment, at may look at the destination.
func Broken(size int64, at func()) v1.Layer {
	return image.NewLayer(image.LayerInfo{
		Digest: Digest([]byte("broken")), DiffID: Digest([]byte("broken tar")), Size: size, MediaType: types.OCILayer,
		Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, size/2)), failing(at))), nil
		},
	})
}

type failing func()

func (f failing) Read([]byte) (int, error) {
	if f != nil {
		f()
	}
	return 0, ErrBroken
}

// Big returns an image with one incompressible layer of size bytes, stored uncompressed.
func Big(tb testing.TB, opens *Opens, size int) v1.Image {
	tb.Helper()
	data := make([]byte, size)
	x := uint64(88172645463325252)
	for i := range data { // xorshift64
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		data[i] = byte(x)
	}
	l := image.NewLayer(image.LayerInfo{
		Digest: Digest(data), DiffID: Digest(data), Size: int64(size), MediaType: types.OCIUncompressedLayer,
		Open: func() (io.ReadCloser, error) {
			opens.Add(1)
			return io.NopCloser(bytes.NewReader(data)), nil
		},
	})
	return Make(tb, image.Spec{Layers: []v1.Layer{l}, File: File("linux", "amd64")})
}

// Podman returns what runs podman on a storage of its own, which is gone when the test ends.
func Podman(tb testing.TB) func(args ...string) string {
	tb.Helper()
	Tool(tb, "podman")
	dir := tb.TempDir()
	global := []string{
		"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"), "--storage-driver", "vfs",
	}
	if os.Geteuid() != 0 { // what podman unpacks belongs to subordinate users, and only they can remove it
		tb.Cleanup(func() { exec.Command("podman", append(global, "unshare", "chmod", "-R", "u+rwX", dir)...).Run() })
		tb.Cleanup(func() {
			exec.Command("podman", append(global, "unshare", "rm", "-rf", filepath.Join(dir, "root"))...).Run()
		})
	}
	if out, err := exec.Command("podman", append(global, "images")...).CombinedOutput(); err != nil {
		tb.Skipf("podman does not work here: %v\n%s", err, out)
	}
	return func(args ...string) string { tb.Helper(); return Output(tb, "podman", append(global, args...)...) }
}
