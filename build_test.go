package stagewright_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/daemon"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// blobs is a registry on loopback that counts the blobs it is asked for.
type blobs struct {
	host string
	gets atomic.Int64
}

func newRegistry(t *testing.T) *blobs {
	b := &blobs{}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			b.gets.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b.host = strings.TrimPrefix(server.URL, "http://")
	return b
}

// builder builds with one cache directory and closes results with the test.
func builder(t *testing.T) func(stage.Stage, stagewright.Options) *stagewright.Result {
	dir := t.TempDir()
	return func(s stage.Stage, o stagewright.Options) *stagewright.Result {
		t.Helper()
		o.CacheDir = dir
		res, err := stagewright.Build(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Close() })
		return res
	}
}

func TestBaseImages(t *testing.T) {
	reg := newRegistry(t)
	build := builder(t)
	ref := reg.host + "/base:1"
	below := stage.Scratch().Copy(".", "/").Env("FROM", "base").Env("PATH", "/bin").Cmd("/bin/app").Workdir("/srv").
		File("/etc/old", "x").Remove("/etc/old")
	build(below, stagewright.Options{
		Context: stagewright.FS(fstest.MapFS{"bin/app": {Data: []byte("app"), Mode: 0o755}, "etc/conf": {Data: []byte("1")}}),
		Sinks:   []image.Sink{registry.Push(ref)},
	})
	reg.gets.Store(0)

	// Configuration alone, and nothing of the files: only the config blob is read.
	res := build(stage.From(ref).Label("a", "${FROM}"), stagewright.Options{})
	if n := reg.gets.Load(); n != 1 {
		t.Errorf("a label on top of a base asked for %d blobs, want the config alone", n)
	}
	img, err := res.Image()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	file, err := image.FileOf(img)
	if err != nil || file.Config.Labels["a"] != "base" || file.Config.WorkingDir != "/srv" || file.Config.Cmd[0] != "/bin/app" || file.History[len(file.History)-1].CreatedBy != "LABEL a=base" {
		t.Errorf("configuration %+v, %v", file, err)
	}

	// A file on top: the layers, which were read above, are in the cache by now.
	on := func(content string) stage.Stage {
		return stage.From(ref).File("conf/../etc/conf", content).CopyFrom(stage.Image(ref), "/bin/app", "copy/")
	}
	reg.gets.Store(0)
	first := build(on("2"), stagewright.Options{})
	second := build(on("3"), stagewright.Options{})
	if n := reg.gets.Load(); n > 0 {
		t.Errorf("the builds asked for %d blobs, want none", n)
	}
	for _, res := range []*stagewright.Result{first, second} {
		files, err := res.Files(res.Graph().Targets()[0].Step)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := fs.ReadFile(files, "srv/copy/app"); err != nil || string(data) != "app" {
			t.Errorf("copied from the image: %q, %v", data, err)
		}
		if _, err := fs.Stat(files, "etc/old"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a removed file is back: %v", err)
		}
	}
}

// shell returns a stage with /bin/sh and core commands. The test is skipped where no sandbox
// works.
func shell(t testing.TB) stage.Stage {
	t.Helper()
	if err := sandbox.Probe(t.Context(), namespaces.New(namespaces.Options{})); err != nil {
		t.Skipf("no sandbox on this machine: %v", err)
	}
	home, err := os.UserCacheDir()
	if err != nil {
		home = os.TempDir()
	}
	bin, err := toolbox.Build(t.Context(), filepath.Join(home, "stagewright-test"))
	if err != nil {
		t.Fatal(err)
	}
	return stage.Scratch(stage.As("shell")).CopyFrom(stage.FS(bin.Files()), ".", "/").Env("PATH", "/bin")
}

func TestRunOnBaseImage(t *testing.T) {
	base := shell(t)
	reg := newRegistry(t)
	build := builder(t)
	ref := reg.host + "/shell:1"
	build(base.File("/data/a", "1").File("/data/b", "2").Remove("/data/a").Cmd("cat", "/greeting"),
		stagewright.Options{Sinks: []image.Sink{registry.Push(ref)}})
	reg.gets.Store(0)
	s := stage.From(ref, stage.As("app")).Run("ls /data > /list; echo hello > /greeting")
	res := build(s, stagewright.Options{})
	files, err := res.FilesOf(s)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := fs.ReadFile(files, "list"); err != nil || string(data) != "b\n" {
		t.Errorf("the step saw %q, %v", data, err)
	}
	var out strings.Builder
	if err := res.Run(t.Context(), stage.Process{Stdout: &out}); err != nil || out.String() != "hello\n" {
		t.Errorf("the image's command: %q, %v", &out, err)
	}
	var exit *stage.ExitError
	if err := res.Run(t.Context(), stage.Process{Argv: []string{"sh", "-c", "exit 4"}}); !errors.As(err, &exit) || exit.Code != 4 {
		t.Errorf("a failing command: %v", err)
	}
	if again := build(s, stagewright.Options{}); again.Report().Ran() != 0 {
		t.Errorf("%d steps ran again", again.Report().Ran())
	}
}

func TestBuildMistakes(t *testing.T) {
	reg := newRegistry(t)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	downHost := strings.TrimPrefix(down.URL, "http://")
	mine := t.TempDir()
	if err := os.WriteFile(filepath.Join(mine, "thesis.txt"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		s    stage.Stage
		o    stagewright.Options
		want []string
	}{
		{"no such image", stage.From(reg.host + "/nothing:1"), stagewright.Options{}, []string{"build_test.go:", "/nothing:1", "no such image"}},
		{"registry down", stage.From(downHost + "/x"), stagewright.Options{}, []string{"build_test.go:", downHost, "cannot be reached"}},
		{"bad reference", stage.From("Not A Reference"), stagewright.Options{}, []string{"build_test.go:", "Not A Reference"}},
		{"output holds something else", stage.Scratch().File("/f", "x"), stagewright.Options{Sinks: []image.Sink{layout.Dir(mine, "a:1")}}, []string{mine}},
		{"foreign platform", stage.Scratch().Run("true"), stagewright.Options{Platforms: platform.MustParseSet("linux/s390x")}, []string{"build_test.go:", "linux/s390x", "OnBuildPlatform"}},
		{"nil sink", stage.Scratch(), stagewright.Options{Sinks: []image.Sink{nil}}, []string{"Sinks[0] is nil"}},
		{"value that nobody declares", stage.Scratch(), stagewright.Options{Args: map[string]string{"VERSION": "1"}}, []string{"VERSION", "arg.New"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.o.CacheDir = t.TempDir()
			_, err := stagewright.Build(t.Context(), test.s, test.o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
		})
	}
	if data, err := os.ReadFile(filepath.Join(mine, "thesis.txt")); err != nil || string(data) != "dear" {
		t.Errorf("the directory's file: %q, %v", data, err)
	}
	if list, _ := os.ReadDir(mine); len(list) != 1 {
		t.Errorf("the directory has %v", list)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stagewright.Build(ctx, stage.Scratch().File("/f", ""), stagewright.Options{CacheDir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSinksAreCheckedFirst: nothing is built for a sink that can take nothing.
func TestSinksAreCheckedFirst(t *testing.T) {
	target := stage.Scratch().Func("never", "1", func(context.Context, fs.FS, stage.Writer) error {
		t.Error("it was built")
		return nil
	})
	for want, sink := range map[string]image.Sink{
		"Bad Name":                    registry.Push("Bad Name"),
		"is not a tag of":             registry.Push("app:1", "app:2"),
		"not an image name":           layout.Dir(t.TempDir(), "Bad Name"),
		"no path":                     layout.Dir("", "app:1"),
		"OCI archive":                 archive.OCI("x.tar", "Bad Name"),
		"docker: ":                    daemon.Docker("Bad Name"),
		"knows images by their names": daemon.Containerd(),
		"kind cluster test":           daemon.Kind("test"),
	} {
		_, err := stagewright.Build(t.Context(), target, stagewright.Options{CacheDir: t.TempDir(), Sinks: []image.Sink{sink}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "sink 0") {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestPlatforms(t *testing.T) {
	s := stage.ForPlatform(func(p platform.Platform) stage.Stage {
		return stage.Scratch().File("/arch", p.Architecture)
	})
	res := builder(t)(s, stagewright.Options{Platforms: platform.MustParseSet("linux/arm64,linux/amd64")})
	if _, err := res.Image(); err == nil {
		t.Error("an index was given as an image")
	}
	index := res.Artifact().Index
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 || manifest.Manifests[0].Platform.Architecture != "arm64" {
		t.Errorf("index %+v, %v", manifest, err)
	}
}

func TestEpoch(t *testing.T) {
	build := func() (string, string) {
		res, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), stagewright.Options{CacheDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		img, err := res.Image()
		if err != nil {
			t.Fatal(err)
		}
		file, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		d, err := res.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d, file.Created.UTC().String()
	}
	t.Setenv("SOURCE_DATE_EPOCH", "")
	plain, created := build()
	if !strings.HasPrefix(created, "1970-01-01 00:00:00") {
		t.Errorf("created %s", created)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
	if d, created := build(); d == plain || !strings.HasPrefix(created, "2001-09-09 01:46:40") {
		t.Errorf("with SOURCE_DATE_EPOCH: %s, created %s", d, created)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := stagewright.Build(t.Context(), stage.Scratch(), stagewright.Options{CacheDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
		t.Errorf("a wrong SOURCE_DATE_EPOCH: %v", err)
	}
}

// TestMaxLayers: an image with too many layers is an error, and goes nowhere.
func TestMaxLayers(t *testing.T) {
	three := stage.Scratch().Mkdir("/a").Mkdir("/b").Mkdir("/c")
	for target, fails := range map[stage.Stage]bool{three: true, three.Squash(): false} {
		written := 0
		sink := image.SinkFunc(func(context.Context, image.Artifact) error { written++; return nil })
		res, err := stagewright.Build(t.Context(), target, stagewright.Options{Store: cache.NewMemory(), MaxLayers: 2, Sinks: []image.Sink{sink}})
		if (err != nil) != fails || (written == 0) != fails {
			t.Errorf("error %v, %d writes", err, written)
		}
		if err == nil {
			res.Close()
		}
	}
}
