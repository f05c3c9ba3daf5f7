package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/platform"
)

// entries reads a tar file.
func entries(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := map[string]string{}
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir && h.Mode == 0o755 {
			continue
		}
		if h.Mode != 0o644 || h.ModTime.Unix() != 0 || h.Uname != "" || h.Uid != 0 {
			t.Errorf("%s: %+v", h.Name, h)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := m[h.Name]; twice {
			t.Errorf("%s is in the archive twice", h.Name)
		}
		m[h.Name] = string(b)
	}
}

func TestDockerIsWhatDockerSaveWrites(t *testing.T) {
	var opens imagetest.Opens
	path := filepath.Join(t.TempDir(), "new", "app.tar")
	img := imagetest.Image(t, &opens, "text")
	imagetest.Write(t, archive.Docker(path, "app:1.0", "registry.example.com/app:1.0"), image.Artifact{Image: img})
	files := entries(t, path)
	m, _ := img.Manifest()
	want := `[{"Config":"blobs/sha256/` + m.Config.Digest.Hex + `","RepoTags":["docker.io/library/app:1.0","registry.example.com/app:1.0"],"Layers":["blobs/sha256/` + m.Layers[0].Digest.Hex + `"]}]`
	if files["manifest.json"] != want || len(files) != 6 {
		t.Errorf("manifest.json is %s\nwant %s\nof %d files", files["manifest.json"], want, len(files))
	}
	for name, data := range files {
		if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && imagetest.Digest([]byte(data)).Hex != hex {
			t.Errorf("%s has other bytes", name)
		}
	}
	// Another reader: go-containerregistry's.
	back, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(back); err != nil {
		t.Error(err)
	}
	if a, _ := img.ConfigName(); a != must(back.ConfigName()) {
		t.Error("read back, the image has another ID")
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("something is left beside the archive: %v", entries)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestOCIIsALayout unpacks the tar and reads it as a directory.
func TestOCIIsALayout(t *testing.T) {
	var opens imagetest.Opens
	dir := t.TempDir()
	path := filepath.Join(dir, "app.tar")
	x := imagetest.Index(t, &opens, "text")
	imagetest.Write(t, archive.OCI(path, "app:1.0"), image.Artifact{Index: x})
	unpacked := filepath.Join(dir, "oci")
	for name, data := range entries(t, path) {
		p := filepath.Join(unpacked, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	a, err := layout.Read(unpacked, "app:1.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(a.Index); err != nil {
		t.Error(err)
	}
	// The two sinks write the same files.
	written := filepath.Join(dir, "written")
	imagetest.Write(t, layout.Dir(written, "app:1.0"), image.Artifact{Index: x})
	imagetest.SameFiles(t, "OCI", imagetest.Snapshot(t, written), imagetest.Snapshot(t, unpacked))
}

func TestSameInputSameBytes(t *testing.T) {
	var opens imagetest.Opens
	a := image.Artifact{Image: imagetest.Image(t, &opens, "text")}
	dir := t.TempDir()
	for kind, sink := range map[string]func(path string, refs ...string) image.Sink{"docker": archive.Docker, "OCI": archive.OCI} {
		one, two := filepath.Join(dir, kind+"1"), filepath.Join(dir, kind+"2")
		imagetest.Write(t, sink(one, "app"), a)
		imagetest.Write(t, sink(two, "app"), a)
		b1, b2 := must(os.ReadFile(one)), must(os.ReadFile(two))
		if !bytes.Equal(b1, b2) || len(b1) == 0 || len(b1)%512 != 0 {
			t.Errorf("%s: %d and %d bytes", kind, len(b1), len(b2))
		}
	}
}

// TestUnchangedFileIsNotWritten, and one with a single other byte is.
func TestUnchangedFileIsNotWritten(t *testing.T) {
	var opens imagetest.Opens
	path := filepath.Join(t.TempDir(), "app.tar")
	a := image.Artifact{Image: imagetest.Image(t, &opens, "text")}
	s := archive.Docker(path, "app")
	imagetest.Write(t, s, a)
	first := must(os.Stat(path))
	imagetest.Write(t, s, a)
	if !os.SameFile(first, must(os.Stat(path))) || opens.Load() != 1 {
		t.Errorf("written again; the layer was opened %d times", opens.Load())
	}
	want := must(os.ReadFile(path))
	for _, at := range []int{0, 600, len(want) / 2, len(want) - 1} {
		changed := bytes.Clone(want)
		changed[at] ^= 1
		if err := os.WriteFile(path, changed, 0o666); err != nil {
			t.Fatal(err)
		}
		imagetest.Write(t, s, a)
		if !bytes.Equal(must(os.ReadFile(path)), want) {
			t.Errorf("byte %d of %d: the change is still there", at, len(want))
		}
	}
}

func TestDockerTakesOneImageOfAnIndex(t *testing.T) {
	var opens imagetest.Opens
	path := filepath.Join(t.TempDir(), "app.tar")
	x := imagetest.Index(t, &opens, "text")
	arm := platform.MustParse("linux/arm64")
	imagetest.Write(t, archive.DockerWith(path, archive.Options{Platform: arm}, "app"), image.Artifact{Index: x})
	if f, err := image.FileOf(must(tarball.ImageFromPath(path, nil))); err != nil || f.Architecture != "arm64" {
		t.Errorf("%+v, %v", f, err)
	}
	if opens.Load() != 1 {
		t.Errorf("%d layers were opened, want 1", opens.Load())
	}
	s390x := archive.Options{Platform: platform.MustParse("linux/s390x")}
	err := archive.DockerWith(path, s390x, "app").Write(t.Context(), image.Artifact{Index: x})
	if err == nil || !strings.Contains(err.Error(), "no image for linux/s390x, only for [linux/amd64 linux/arm64]") {
		t.Errorf("error %v", err)
	}
	only := must(image.NewIndex([]image.Child{{Image: imagetest.ImageFor(t, &opens, "a", "linux", "s390x")}}, nil))
	imagetest.Write(t, archive.Docker(path), image.Artifact{Index: only})
}

func TestDockerRefusesLayersThatMayNotBeDistributed(t *testing.T) {
	l := image.NewLayer(image.LayerInfo{
		Digest: imagetest.Digest([]byte("x")), DiffID: imagetest.Digest([]byte("y")), Size: 1, MediaType: types.OCIRestrictedLayer,
	})
	img := imagetest.Make(t, image.Spec{Layers: []v1.Layer{l}, File: imagetest.File("windows", "amd64")})
	path := filepath.Join(t.TempDir(), "app.tar")
	if err := archive.Docker(path).Write(t.Context(), image.Artifact{Image: img}); err == nil || !strings.Contains(err.Error(), "may not be distributed") {
		t.Errorf("error %v", err)
	}
	imagetest.Write(t, archive.OCI(path), image.Artifact{Image: img})
	if n := len(entries(t, path)); n != 4 {
		t.Errorf("%d files in the archive, want 4: the layer is referred to only", n)
	}
}

// TestFailureLeavesWhatWasThere: no file where there was none, and the former file where there was one.
func TestFailureLeavesWhatWasThere(t *testing.T) {
	var opens imagetest.Opens
	dir := t.TempDir()
	good := image.Artifact{Image: imagetest.Image(t, &opens, "good")}
	imagetest.Write(t, archive.Docker(filepath.Join(dir, "there.tar"), "app"), good)
	before := imagetest.Snapshot(t, dir)
	for _, name := range []string{"there.tar", "new.tar", "deep/er/new.tar"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped by the user")
		for what, l := range map[string]v1.Layer{
			"broken":    imagetest.Broken(1000, nil),
			"lying":     imagetest.Lying(t, map[string]string{"f": "1"}),
			"cancelled": imagetest.Broken(1000, func() { cancel(stopped) }),
		} {
			c := t.Context()
			if what == "cancelled" {
				c = ctx
			}
			img := imagetest.Make(t, image.Spec{Layers: []v1.Layer{l}, File: imagetest.File("linux", "amd64")})
			err := archive.Docker(path, "app").Write(c, image.Artifact{Image: img})
			var ce *image.ContentError
			if err == nil || !strings.Contains(err.Error(), path) || what == "lying" && !errors.As(err, &ce) || what == "broken" && !errors.Is(err, imagetest.ErrBroken) {
				t.Errorf("%s, %s: error %v", name, what, err)
			}
			imagetest.SameFiles(t, name+", "+what, before, imagetest.Snapshot(t, dir))
		}
		if err := archive.OCI(path).Write(ctx, good); !errors.Is(err, stopped) {
			t.Errorf("%s: under an ended context: %v", name, err)
		}
		imagetest.SameFiles(t, name+", ended context", before, imagetest.Snapshot(t, dir))
	}
}

func TestOtherPlacesAreRefused(t *testing.T) {
	var opens imagetest.Opens
	a := image.Artifact{Image: imagetest.Image(t, &opens, "a")}
	dir := t.TempDir()
	if err := archive.Docker(dir).Write(t.Context(), a); err == nil || !strings.Contains(err.Error(), "it is a directory") {
		t.Errorf("a directory: %v", err)
	}
	if err := archive.Docker(os.DevNull).Write(t.Context(), a); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a device: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := archive.Docker(filepath.Join(file, "app.tar")).Write(t.Context(), a); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("below a file: %v", err)
	}
	for _, ref := range []string{"UPPER", "app@" + imagetest.Digest(nil).String()} {
		if err := archive.Docker(filepath.Join(dir, "x.tar"), ref).Write(t.Context(), a); err == nil || !strings.Contains(err.Error(), ref) {
			t.Errorf("the name %s: %v", ref, err)
		}
	}
	if err := archive.Docker(filepath.Join(dir, "x.tar")).Write(t.Context(), image.Artifact{}); !errors.Is(err, image.ErrArtifact) {
		t.Errorf("an empty artifact: %v", err)
	}
	if got := imagetest.Snapshot(t, dir); len(got) != 2 {
		t.Errorf("something was written: %q", got)
	}
	if os.Geteuid() != 0 {
		if err := archive.Docker("/app.tar").Write(t.Context(), a); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "create /app.tar") {
			t.Errorf("without permission: %v", err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	var opens imagetest.Opens
	disk := imagetest.TinyFS(t, 256<<10)
	path := filepath.Join(disk, "app.tar")
	big := image.Artifact{Image: imagetest.Big(t, &opens, 1<<20)}
	for range 2 { // the first time there is no file, the second time a small one
		before := imagetest.Snapshot(t, disk)
		if err := archive.Docker(path, "app").Write(t.Context(), big); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v", err)
		}
		imagetest.SameFiles(t, "full disk", before, imagetest.Snapshot(t, disk))
		imagetest.Write(t, archive.Docker(path, "app"), image.Artifact{Image: imagetest.Image(t, &opens, "small")})
	}
}

func TestSkopeoReadsIt(t *testing.T) {
	imagetest.Tool(t, "skopeo")
	var opens imagetest.Opens
	dir := t.TempDir()
	img := imagetest.Image(t, &opens, "text")
	imagetest.Write(t, archive.Docker(filepath.Join(dir, "docker.tar"), "app:1.0"), image.Artifact{Image: img})
	imagetest.Write(t, archive.OCI(filepath.Join(dir, "oci.tar"), "app:1.0"), image.Artifact{Image: img})
	f := must(image.FileOf(img))
	for _, ref := range []string{
		"docker-archive:" + dir + "/docker.tar", "docker-archive:" + dir + "/docker.tar:app:1.0",
		"oci-archive:" + dir + "/docker.tar:1.0", "oci-archive:" + dir + "/oci.tar:1.0",
	} {
		out := imagetest.Output(t, "skopeo", "inspect", "--config", ref)
		var got image.File
		var err error
		if got, err = image.ParseFile([]byte(out)); err != nil || got.RootFS.DiffIDs[0] != f.RootFS.DiffIDs[0] || got.Config.Cmd[0] != "/app" {
			t.Errorf("%s: %s, %v", ref, out, err)
		}
		// A copy makes skopeo read and verify every layer.
		imagetest.Output(t, "skopeo", "copy", "-q", ref, "dir:"+filepath.Join(t.TempDir(), "copy"))
	}
}

func TestPodmanLoadsIt(t *testing.T) {
	podman := imagetest.Podman(t)
	var opens imagetest.Opens
	path := filepath.Join(t.TempDir(), "app.tar")
	img := imagetest.Image(t, &opens, "text")
	imagetest.Write(t, archive.Docker(path, "app:1.0", "registry.example.com/app:1.0"), image.Artifact{Image: img})
	podman("load", "-q", "-i", path)
	one := filepath.Join(t.TempDir(), "one.tar") // one name: podman reads index.json; several: manifest.json
	imagetest.Write(t, archive.Docker(one, "app:2.0"), image.Artifact{Image: img})
	podman("load", "-q", "-i", one)
	for _, name := range []string{"docker.io/library/app:1.0", "registry.example.com/app:1.0", "docker.io/library/app:2.0"} {
		var got []struct {
			ID     string `json:"Id"`
			Config image.Config
		}
		if err := json.Unmarshal([]byte(podman("image", "inspect", name)), &got); err != nil {
			t.Fatal(err)
		}
		if want := must(img.ConfigName()).Hex; len(got) != 1 || got[0].ID != want || got[0].Config.Cmd[0] != "/app" {
			t.Errorf("%s: %+v, want the ID %s", name, got, want)
		}
	}
}

func BenchmarkDockerUnchanged5MB(b *testing.B) {
	var opens imagetest.Opens
	s, a := archive.Docker(filepath.Join(b.TempDir(), "app.tar"), "app"), image.Artifact{Image: imagetest.Big(b, &opens, 5<<20)}
	imagetest.Write(b, s, a)
	for b.Loop() {
		imagetest.Write(b, s, a)
	}
}
