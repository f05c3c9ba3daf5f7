//go:build unix

package layout_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/layout"
)

func TestDirIsReproducible(t *testing.T) {
	var opens imagetest.Opens
	x := imagetest.Index(t, &opens, "text")
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	imagetest.Write(t, layout.Dir(a, "app"), image.Artifact{Index: x})
	old := syscall.Umask(0o077)
	imagetest.Write(t, layout.Dir(b, "app"), image.Artifact{Index: x})
	syscall.Umask(old)
	imagetest.SameFiles(t, "second layout", imagetest.Snapshot(t, a), imagetest.Snapshot(t, b))
}

func TestDirAgainWritesNothing(t *testing.T) {
	var opens imagetest.Opens
	dir := filepath.Join(t.TempDir(), "oci")
	a := image.Artifact{Image: imagetest.Image(t, &opens, "text")}
	for _, refs := range [][]string{nil, {"app:1.0"}} {
		s := layout.Dir(dir, refs...)
		imagetest.Write(t, s, a)
		before, n := inodes(t, dir), opens.Load()
		imagetest.Write(t, s, a)
		if after := inodes(t, dir); !maps.Equal(before, after) {
			t.Errorf("%q: files were written again:\n%v\n%v", refs, before, after)
		}
		if opens.Load() != n {
			t.Error("the layer was opened again")
		}
	}
	if opens.Load() != 1 {
		t.Errorf("the layer was opened %d times", opens.Load())
	}
}

// inodes gives the inode of each file: one that was replaced has another.
func inodes(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	m := map[string]uint64{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			m[p] = fi.Sys().(*syscall.Stat_t).Ino
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDirKilled kills a writer in the middle of a layer. A new place stays absent; a layout stays as it was for its readers, and the next
// write clears away what the dead one left.
func TestDirKilled(t *testing.T) {
	const victim = "STAGEWRIGHT_LAYOUT_VICTIM"
	var opens imagetest.Opens
	if dir := os.Getenv(victim); dir != "" {
		img := imagetest.Make(t, image.Spec{Layers: []v1.Layer{
			imagetest.Layer(t, &opens, map[string]string{"first": "1"}),
			imagetest.Broken(1<<20, func() { syscall.Kill(os.Getpid(), syscall.SIGKILL) }),
		}})
		layout.Dir(dir, "app").Write(t.Context(), image.Artifact{Image: img})
		t.Fatal("not killed")
	}
	kill := func(dir string) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDirKilled$")
		cmd.Env = append(os.Environ(), victim+"="+dir)
		out, err := cmd.CombinedOutput()
		var ee *exec.ExitError
		if !errors.As(err, &ee) || ee.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the victim was not killed: %v\n%s", err, out)
		}
	}
	good := image.Artifact{Image: imagetest.Image(t, &opens, "good")}
	want, _ := good.Digest()

	dir := filepath.Join(t.TempDir(), "new")
	kill(dir)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a killed write made the new layout: %v", err)
	}
	imagetest.Write(t, layout.Dir(dir, "app"), good)

	for i := range 2 { // the first time in a layout, the second time in an empty directory
		if i == 1 {
			dir = t.TempDir()
		}
		kill(dir)
		if i == 0 {
			if a, err := layout.Read(dir, "app"); err != nil {
				t.Error(err)
			} else if got, _ := a.Digest(); got != want {
				t.Errorf("the name has moved to %s", got)
			}
		}
		imagetest.Write(t, layout.Dir(dir, "app"), good)
		for name := range imagetest.Snapshot(t, dir) {
			if strings.Contains(name, ".stagewright-") {
				t.Errorf("%s is still there after the next write", name)
			}
		}
	}
}
