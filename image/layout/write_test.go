package layout_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/layout"
)

// rows gives "name tag" of each row of an index.json.
func rows(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m v1.IndexManifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.Manifests {
		got = append(got, d.Annotations["io.containerd.image.name"]+" "+d.Annotations["org.opencontainers.image.ref.name"])
	}
	return got
}

func TestDirWritesALayout(t *testing.T) {
	var opens imagetest.Opens
	img := imagetest.Image(t, &opens, "text")
	parent := t.TempDir()
	dir := filepath.Join(parent, "new", "oci")
	imagetest.Write(t, layout.Dir(dir, "app:1.0", "registry.example.com/team/app:2.0", "app", "app:1.0"), image.Artifact{Image: img})
	want := []string{"docker.io/library/app:1.0 1.0", "registry.example.com/team/app:2.0 2.0", "docker.io/library/app:latest latest"}
	if got := rows(t, dir); !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	files := imagetest.Snapshot(t, dir)
	if len(files) != 8 || files["oci-layout"] != `{"imageLayoutVersion":"1.0.0"}` { // 3 directories, 2 files, 3 blobs
		t.Errorf("files %q", slices.Sorted(maps.Keys(files)))
	}
	for name, data := range files {
		if hex, ok := strings.CutPrefix(filepath.ToSlash(name), "blobs/sha256/"); ok && imagetest.Digest([]byte(data)).Hex != hex {
			t.Errorf("blob %s has other bytes", name)
		}
	}
	if opens.Load() != 1 {
		t.Errorf("the layer was opened %d times", opens.Load())
	}
	if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 1 {
		t.Errorf("something is left beside the layout: %v", entries)
	}
}

func TestDirUpdatesALayout(t *testing.T) {
	var opens imagetest.Opens
	dir := t.TempDir() // empty
	one, two := imagetest.Image(t, &opens, "one"), imagetest.Image(t, &opens, "two")
	write := func(img v1.Image, refs ...string) {
		imagetest.Write(t, layout.Dir(dir, refs...), image.Artifact{Image: img})
	}
	write(one, "app:1")
	write(two, "app:2")
	write(two) // without a name
	write(one)
	write(two, "app:1")
	if got, want := rows(t, dir), []string{"docker.io/library/app:1 1", "docker.io/library/app:2 2", " "}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	oneDigest, _ := one.Digest()
	twoDigest, _ := two.Digest()
	for ref, want := range map[string]v1.Hash{"app:1": twoDigest, "app:2": twoDigest, oneDigest.String(): oneDigest} {
		a, err := layout.Read(dir, ref)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, _ := a.Digest(); got != want {
			t.Errorf("%s is %s, want %s", ref, got, want)
		}
	}
}

// TestDirKeepsWhatOthersWrote: rows and fields of index.json that this program does not know stay as they are.
func TestDirKeepsWhatOthersWrote(t *testing.T) {
	var opens imagetest.Opens
	dir := t.TempDir()
	other := `{"mediaType":"application/x","digest":"` + imagetest.Digest([]byte("o")).String() + `","size":1,"future":[1,  2],` +
		`"annotations":{"org.opencontainers.image.ref.name":"theirs"}}`
	put(t, dir, "oci-layout", `{"imageLayoutVersion": "1.1.0", "x": 1}`)
	put(t, dir, "index.json", `{"schemaVersion":2,"manifests":[`+other+`],"com.example":{"a":"<b>"}}`)
	put(t, dir, "blobs/sha256/"+imagetest.Digest([]byte("o")).Hex, "o")
	put(t, dir, "README", "mine")
	imagetest.Write(t, layout.Dir(dir, "app:1"), image.Artifact{Image: imagetest.Image(t, &opens, "a")})
	files := imagetest.Snapshot(t, dir)
	var got struct {
		Manifests []json.RawMessage
		Extra     map[string]string `json:"com.example"`
	}
	if err := json.Unmarshal([]byte(files["index.json"]), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Manifests) != 2 || string(got.Manifests[0]) != strings.ReplaceAll(other, "  ", "") || got.Extra["a"] != "<b>" {
		t.Errorf("index.json is %s", files["index.json"])
	}
	if files["README"] != "mine" || files["oci-layout"] != `{"imageLayoutVersion": "1.1.0", "x": 1}` {
		t.Errorf("files changed: %q", files)
	}
}

func put(t *testing.T, dir, name, data string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestDirRepairsADamagedBlob(t *testing.T) {
	var opens imagetest.Opens
	dir := filepath.Join(t.TempDir(), "oci")
	s, a := layout.Dir(dir, "app"), image.Artifact{Image: imagetest.Image(t, &opens, "text")}
	imagetest.Write(t, s, a)
	want := imagetest.Snapshot(t, dir)
	layers, _ := a.Image.Layers()
	digest, _ := layers[0].Digest()
	blob := filepath.Join("blobs", "sha256", digest.Hex)
	for _, damage := range []string{want[blob][1:], "x" + want[blob][1:], ""} {
		put(t, dir, blob, damage)
		imagetest.Write(t, s, a)
		imagetest.SameFiles(t, "after repair", want, imagetest.Snapshot(t, dir))
	}
	if opens.Load() != 4 {
		t.Errorf("the layer was opened %d times, want 4", opens.Load())
	}
}

func TestDirRefusesOtherPlaces(t *testing.T) {
	var opens imagetest.Opens
	a := image.Artifact{Image: imagetest.Image(t, &opens, "text")}
	for name, c := range map[string]struct {
		prepare func(dir string)
		want    string
	}{
		"foreign directory": {func(dir string) { put(t, dir, "main.go", "package main") }, `has "main.go" and no oci-layout file`},
		"file":              {func(dir string) { put(t, filepath.Dir(dir), filepath.Base(dir), "x") }, "it is a file"},
		"other version":     {func(dir string) { put(t, dir, "oci-layout", `{"imageLayoutVersion":"2.0.0"}`) }, `version is "2.0.0"`},
		"no JSON":           {func(dir string) { put(t, dir, "oci-layout", `hello`) }, "oci-layout"},
		"endless":           {func(dir string) { put(t, dir, "oci-layout", strings.Repeat(" ", 2<<10)) }, "more than 1024 bytes"},
		"broken index": {func(dir string) {
			put(t, dir, "oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
			put(t, dir, "index.json", `{"manifests":[{"digest":"../../x"}]}`)
		}, "manifests[0]"},
		"null index": {func(dir string) {
			put(t, dir, "oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
			put(t, dir, "index.json", `null`)
		}, "null"},
	} {
		dir := filepath.Join(t.TempDir(), "d")
		c.prepare(dir)
		parent := filepath.Dir(dir)
		before := imagetest.Snapshot(t, parent)
		err := layout.Dir(dir, "app").Write(t.Context(), a)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
		if !strings.Contains(name, "index") && name != "endless" && !errors.Is(err, layout.ErrNotLayout) {
			t.Errorf("%s: the error is not ErrNotLayout: %v", name, err)
		}
		imagetest.SameFiles(t, name, before, imagetest.Snapshot(t, parent))
	}
	if opens.Load() != 0 {
		t.Errorf("layers were opened %d times", opens.Load())
	}
	for _, ref := range []string{"UPPER/case", "app@sha256:" + strings.Repeat("a", 64), "a b", ""} {
		dir := filepath.Join(t.TempDir(), "d")
		if err := layout.Dir(dir, ref).Write(t.Context(), a); err == nil {
			t.Errorf("the name %q was taken", ref)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: the directory was made", ref)
		}
	}
	if err := layout.Dir(t.TempDir()).Write(t.Context(), image.Artifact{}); !errors.Is(err, image.ErrArtifact) {
		t.Errorf("an empty artifact: %v", err)
	}
}

// TestDirFailsWithoutATrace: at a new place, in an empty directory and in a layout, a failed write leaves what was there before, and while it
// runs no reader sees it.
func TestDirFailsWithoutATrace(t *testing.T) {
	var opens imagetest.Opens
	good := image.Artifact{Image: imagetest.Image(t, &opens, "good")}
	for place, prepare := range map[string]func(dir string){
		"new":    func(string) {},
		"empty":  func(dir string) { os.Mkdir(dir, 0o777) },
		"layout": func(dir string) { imagetest.Write(t, layout.Dir(dir, "app"), good) },
	} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "d")
		prepare(dir)
		if place == "new" {
			dir = filepath.Join(parent, "deep", "er", "d")
		}
		before := imagetest.Snapshot(t, parent)
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped by the user")
		for name, c := range map[string]struct {
			layer v1.Layer
			ctx   context.Context
			want  error
		}{
			"broken layer": {imagetest.Broken(1000, func() {
				if _, err := os.Stat(filepath.Join(dir, "index.json")); err == nil && place != "layout" {
					t.Errorf("%s: index.json is there while a layer is being written", place)
				}
			}), t.Context(), imagetest.ErrBroken},
			"cancelled": {imagetest.Broken(1000, func() { cancel(stopped) }), ctx, nil},
			"lying":     {imagetest.Lying(t, map[string]string{"f": "1"}), t.Context(), nil},
		} {
			img := imagetest.Make(t, image.Spec{
				Layers: []v1.Layer{imagetest.Layer(t, &opens, map[string]string{"first": "1"}), c.layer}, File: imagetest.File("linux", "amd64"),
			})
			err := layout.Dir(dir, "app").Write(c.ctx, image.Artifact{Image: img})
			var ce *image.ContentError
			if err == nil || c.want != nil && !errors.Is(err, c.want) || name == "lying" && !errors.As(err, &ce) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s, %s: error %v", place, name, err)
			}
			imagetest.SameFiles(t, place+", "+name, before, imagetest.Snapshot(t, parent))
		}
		if err := layout.Dir(dir, "app").Write(ctx, good); !errors.Is(err, stopped) {
			t.Errorf("%s: under an ended context: %v", place, err)
		}
		imagetest.SameFiles(t, place+", ended context", before, imagetest.Snapshot(t, parent))
	}
}

func TestDirOnAFullDisk(t *testing.T) {
	var opens imagetest.Opens
	disk := imagetest.TinyFS(t, 256<<10)
	dir := filepath.Join(disk, "oci")
	small := image.Artifact{Image: imagetest.Image(t, &opens, "small")}
	big := image.Artifact{Image: imagetest.Big(t, &opens, 1<<20)}
	for _, prepared := range []bool{false, true} {
		if prepared {
			imagetest.Write(t, layout.Dir(dir, "app"), small)
		}
		before := imagetest.Snapshot(t, disk)
		err := layout.Dir(dir, "app").Write(t.Context(), big)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "OCI layout "+dir) {
			t.Errorf("error %v", err)
		}
		imagetest.SameFiles(t, "full disk", before, imagetest.Snapshot(t, disk))
	}
}

func TestDirWithoutPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere; the test runs for ordinary users")
	}
	var opens imagetest.Opens
	parent := t.TempDir()
	if err := os.Chmod(parent, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(parent, 0o777)
	dir := filepath.Join(parent, "oci")
	err := layout.Dir(dir, "app").Write(t.Context(), image.Artifact{Image: imagetest.Image(t, &opens, "a")})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v", err)
	}
}

// TestDirBySeveralAtOnce: writers wait for each other, none loses a name, and a place that was new is made once.
func TestDirBySeveralAtOnce(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no flock on Windows; see the package comment")
	}
	var opens imagetest.Opens
	dir := filepath.Join(t.TempDir(), "oci")
	var wg sync.WaitGroup
	var want []string
	for i := range 8 {
		tag := string(rune('a' + i))
		img := imagetest.Image(t, &opens, tag)
		want = append(want, "docker.io/library/app:"+tag+" "+tag)
		wg.Go(func() {
			if err := layout.Dir(dir, "app:"+tag).Write(t.Context(), image.Artifact{Image: img}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := slices.Sorted(slices.Values(rows(t, dir))); !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 1 {
		t.Errorf("something is left beside the layout: %v", entries)
	}
}

func BenchmarkDirUnchanged5MB(b *testing.B) {
	var opens imagetest.Opens
	s, a := layout.Dir(filepath.Join(b.TempDir(), "oci"), "app"), image.Artifact{Image: imagetest.Big(b, &opens, 5<<20)}
	imagetest.Write(b, s, a)
	for b.Loop() {
		imagetest.Write(b, s, a)
	}
}
