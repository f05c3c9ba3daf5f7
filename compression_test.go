package stagewright_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/image/rootfs"
	"github.com/stagewright/stagewright/stage"
)

// countingStore counts the blobs that are written: each layer that is compressed is one.
type countingStore struct {
	*cache.Memory
	writes atomic.Int64
}

func (s *countingStore) Create(ctx context.Context) (cache.Writer, error) {
	s.writes.Add(1)
	return s.Memory.Create(ctx)
}

// countingFS counts how often files are opened.
type countingFS struct {
	fs.FS
	opens atomic.Int64
}

func (c *countingFS) Open(name string) (fs.File, error) {
	if f, err := fs.Stat(c.FS, name); err == nil && f.Mode().IsRegular() {
		c.opens.Add(1)
	}
	return c.FS.Open(name)
}

// noise is what does not compress, so that a layer of it has several blocks.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestSinksShareOneCompression: five sinks read and compress no more than none.
func TestSinksShareOneCompression(t *testing.T) {
	reg := newRegistry(t)
	dir := t.TempDir()
	sinks := []image.Sink{
		layout.Dir(filepath.Join(dir, "layout"), "app:1"), archive.OCI(filepath.Join(dir, "oci.tar"), "app:1"),
		archive.Docker(filepath.Join(dir, "docker.tar"), "app:1"), registry.Push(reg.host + "/app:1"), rootfs.Dir(filepath.Join(dir, "rootfs")),
	}
	var digests []string
	counts := map[int][2]int64{}
	for _, with := range [][]image.Sink{nil, sinks} {
		store := &countingStore{Memory: cache.NewMemory()}
		files := &countingFS{FS: fstest.MapFS{"a": {Data: noise(3 << 20)}, "d/b": {Data: []byte("b")}, "d/c": {Data: []byte("c")}}}
		res, err := stagewright.Build(t.Context(), stage.Scratch().Copy("a", "/").Copy("d", "/d").File("/e", "e"), stagewright.Options{
			Store: store, Context: stagewright.FS(files), Sinks: with,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		d, err := res.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
		counts[len(with)] = [2]int64{store.writes.Load(), files.opens.Load()}
	}
	if counts[0] != counts[len(sinks)] || counts[0][0] < 3 || digests[0] != digests[1] {
		t.Errorf("blobs written and files opened without sinks %d, with %d of them %d; digests %v", counts[0], len(sinks), counts[len(sinks)], digests)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "rootfs", "d", "b")); err != nil || string(b) != "b" {
		t.Errorf("%q, %v", b, err)
	}
}

// layersOf lists the layers of a build's image.
func layersOf(t *testing.T, res *stagewright.Result) []v1.Descriptor {
	t.Helper()
	img, err := res.Image()
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return m.Layers
}

// readLayers reads every layer, and compares it with its digests and its media type.
func readLayers(t *testing.T, img v1.Image) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	magic := map[types.MediaType]string{types.OCILayer: "\x1f\x8b", types.OCILayerZStd: "\x28\xb5\x2f\xfd"}
	for _, l := range layers {
		for open, want := range map[*func() (io.ReadCloser, error)]func() (v1.Hash, error){new(l.Compressed): l.Digest, new(l.Uncompressed): l.DiffID} {
			rc, err := (*open)()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(rc)
			if err := errors.Join(err, rc.Close()); err != nil {
				t.Error(err)
			}
			got, _, _ := v1.SHA256(bytes.NewReader(b))
			if h, err := want(); err != nil || got != h {
				t.Errorf("read %s, want %s, %v", got, h, err)
			}
			mt, _ := l.MediaType()
			if d, _ := l.Digest(); d == got && !bytes.HasPrefix(b, []byte(magic[mt])) {
				t.Errorf("%s begins with %x", mt, b[:4])
			}
		}
	}
}

// TestCompression builds on a base in every format, with and without force.
func TestCompression(t *testing.T) {
	reg := newRegistry(t)
	build := builder(t)
	ref := reg.host + "/base:1"
	build(stage.Scratch().File("/base", strings.Repeat("base ", 1000)).File("/more", "more"), stagewright.Options{Sinks: []image.Sink{registry.Push(ref)}})
	target := stage.From(ref).File("/own", strings.Repeat("own ", 1000))
	var diffIDs []v1.Hash
	var history []v1.History
	for _, test := range []struct {
		c        image.Compression
		own, low types.MediaType
	}{
		{image.Compression{}, types.OCILayer, types.OCILayer},
		{image.Compression{Level: 9}, types.OCILayer, types.OCILayer},
		{image.Compression{Level: 1, Force: true}, types.OCILayer, types.OCILayer},
		{image.Compression{Format: image.Zstd}, types.OCILayerZStd, types.OCILayer},
		{image.Compression{Format: image.Zstd, Level: 19, Force: true}, types.OCILayerZStd, types.OCILayerZStd},
		{image.Compression{Format: image.Uncompressed}, types.OCIUncompressedLayer, types.OCILayer},
		{image.Compression{Format: image.Uncompressed, Force: true}, types.OCIUncompressedLayer, types.OCIUncompressedLayer},
	} {
		store := &countingStore{Memory: cache.NewMemory()}
		o := stagewright.Options{Store: store, Compression: test.c}
		var last []v1.Descriptor
		for round := range 2 {
			reg.gets.Store(0)
			store.writes.Store(0)
			res, err := stagewright.Build(t.Context(), target, o)
			if err != nil {
				t.Fatalf("%+v: %v", test.c, err)
			}
			defer res.Close()
			if round == 1 && (reg.gets.Load() != 0 || store.writes.Load() > 1) { // the manifest of a tag is asked for, and stored, each time
				t.Errorf("%+v: the second build asked for %d blobs and wrote %d", test.c, reg.gets.Load(), store.writes.Load())
			}
			layers := layersOf(t, res)
			if layers[0].MediaType != test.low || layers[1].MediaType != test.low || layers[2].MediaType != test.own {
				t.Errorf("%+v: layers %v", test.c, layers)
			}
			if round == 1 && !slices.EqualFunc(layers, last, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest }) {
				t.Errorf("%+v: another build, other layers", test.c)
			}
			last = layers
			img, err := res.Image()
			if err != nil {
				t.Fatal(err)
			}
			readLayers(t, img)
			file, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if diffIDs == nil {
				diffIDs, history = file.RootFS.DiffIDs, file.History
			}
			if !slices.Equal(file.RootFS.DiffIDs, diffIDs) || !slices.Equal(file.History, history) || len(history) != 3 {
				t.Errorf("%+v: diff IDs %v, history %v", test.c, file.RootFS.DiffIDs, file.History)
			}
		}
	}
}

// TestNamesThatLookCompressed: a layer that is stored as it is begins with the name of its first file, which may begin as bzip2 does.
func TestNamesThatLookCompressed(t *testing.T) {
	dir := t.TempDir()
	ref := "oci-layout://" + filepath.Join(dir, "base") + ":1"
	builder(t)(stage.Scratch().File("/BZh91AY", "x"), stagewright.Options{
		Compression: image.Compression{Format: image.Uncompressed}, Sinks: []image.Sink{layout.Dir(filepath.Join(dir, "base"), "base:1")},
	})
	res, err := stagewright.Build(t.Context(), stage.From(ref).File("/y", "y"), stagewright.Options{
		Store: cache.NewMemory(), Compression: image.Compression{Force: true}, Sinks: []image.Sink{rootfs.Dir(filepath.Join(dir, "rootfs"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if b, err := os.ReadFile(filepath.Join(dir, "rootfs", "BZh91AY")); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestForeignLayersAreLeftAlone: nobody has the bytes of a layer that may not be distributed.
func TestForeignLayersAreLeftAlone(t *testing.T) {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	foreign := image.NewLayer(image.LayerInfo{Digest: digest, DiffID: digest, Size: 10, MediaType: types.OCIRestrictedLayer})
	base, err := image.New(image.Spec{Layers: []v1.Layer{foreign}, File: image.File{OS: "linux", Architecture: runtime.GOARCH}})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "base")
	if err := layout.Dir(dir, "base:1").Write(t.Context(), image.Artifact{Image: base}); err != nil {
		t.Fatal(err)
	}
	for family, want := range map[image.MediaTypes]types.MediaType{image.OCI: types.OCIRestrictedLayer, image.Docker: types.DockerForeignLayer} {
		res, err := stagewright.Build(t.Context(), stage.From("oci-layout://"+dir+":1").Label("a", "b"), stagewright.Options{
			Store: cache.NewMemory(), Compression: image.Compression{Force: true}, MediaTypes: family,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		if layers := layersOf(t, res); len(layers) != 1 || layers[0].Digest != digest || layers[0].MediaType != want {
			t.Errorf("%+v", layers)
		}
	}
}

func TestCompressionMistakes(t *testing.T) {
	reg := newRegistry(t)
	zstd := image.Compression{Format: image.Zstd}
	ref := reg.host + "/zstd:1"
	builder(t)(stage.Scratch().File("/f", "x").File("/g", "x"), stagewright.Options{Compression: zstd, Sinks: []image.Sink{registry.Push(ref)}})
	for want, test := range map[string]struct {
		s stage.Stage
		o stagewright.Options
	}{
		"use image.OCI, or image.Gzip":         {stage.Scratch().File("/f", "x"), stagewright.Options{Compression: zstd, MediaTypes: image.Docker}},
		"base: layer 1 of 3: it is compressed": {stage.From(ref).File("/f", "y"), stagewright.Options{MediaTypes: image.Docker}},
		"level 10 of gzip; want 1 to 9":        {stage.Scratch(), stagewright.Options{Compression: image.Compression{Level: 10}}},
		"level -1 of zstd; want 1 to 22":       {stage.Scratch(), stagewright.Options{Compression: image.Compression{Format: image.Zstd, Level: -1}}},
		"level 1 of uncompressed":              {stage.Scratch(), stagewright.Options{Compression: image.Compression{Format: image.Uncompressed, Level: 1}}},
		"format 7; want image.Gzip":            {stage.Scratch(), stagewright.Options{Compression: image.Compression{Format: 7}}},
	} {
		test.o.Store = cache.NewMemory()
		if _, err := stagewright.Build(t.Context(), test.s, test.o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	forced := stagewright.Options{Store: cache.NewMemory(), MediaTypes: image.Docker, Compression: image.Compression{Force: true}}
	res, err := stagewright.Build(t.Context(), stage.From(ref).File("/f", "y"), forced)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	for _, l := range layersOf(t, res) {
		if l.MediaType != types.DockerLayer {
			t.Errorf("layer %s", l.MediaType)
		}
	}
}

// TestZstdGolden: the digest of an image with a layer of several frames, which must not depend on the machine.
func TestZstdGolden(t *testing.T) {
	const golden = "sha256:2504cb00eeef010b923388c2c68c66775cb32350c24410c8fcba78158c2566a7"
	for _, parallel := range []int{1, 5} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(parallel))
		res, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", string(noise(9<<20))), stagewright.Options{
			Store: cache.NewMemory(), Compression: image.Compression{Format: image.Zstd},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		if got := layersOf(t, res)[0].Digest.String(); got != golden {
			t.Errorf("GOMAXPROCS %d: %s, want %s", parallel, got, golden)
		}
	}
}

// TestOtherProgramsReadZstd: skopeo rewrites a layer of several frames as gzip, and the zstd program unpacks its blob.
func TestOtherProgramsReadZstd(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "zstd")
	res, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", string(noise(9<<20))), stagewright.Options{
		Store: cache.NewMemory(), Compression: image.Compression{Format: image.Zstd}, Sinks: []image.Sink{layout.Dir(from, "app:1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	blob := filepath.Join(from, "blobs", "sha256", layersOf(t, res)[0].Digest.Hex)
	t.Run("zstd", func(t *testing.T) {
		out := run(t, "zstd", "-dc", blob)
		if !strings.Contains(out[:512], "f\x00") || len(out) < 9<<20 {
			t.Errorf("%d bytes", len(out))
		}
	})
	t.Run("skopeo", func(t *testing.T) {
		to := filepath.Join(dir, "plain")
		run(t, "skopeo", "copy", "--quiet", "--insecure-policy", "--dest-decompress", "oci:"+from+":1", "dir:"+to)
		img, err := res.Image()
		if err != nil {
			t.Fatal(err)
		}
		file, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(to, file.RootFS.DiffIDs[0].Hex))
		if got, _, _ := v1.SHA256(bytes.NewReader(b)); err != nil || got != file.RootFS.DiffIDs[0] {
			t.Errorf("%s, %v", got, err)
		}
	})
}

// run runs a program, which the test is skipped without.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian: apt-get install %s)", name, name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, &stderr)
	}
	return string(out)
}
