package stagewright_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// kept is a sink that keeps what it is given.
type kept struct{ image.Artifact }

func (k *kept) Write(_ context.Context, a image.Artifact) error {
	k.Artifact = a
	return nil
}

// A base image without one of the platforms, and a file that another one lacks: the
// index has what could be built.
func TestPartial(t *testing.T) {
	reg := newRegistry(t)
	build := builder(t)
	ref := reg.host + "/base:1"
	two := platform.MustParseSet("linux/amd64,linux/riscv64")
	build(stage.Scratch().File("/base", "base"), stagewright.Options{Platforms: two, Sinks: []image.Sink{registry.Push(ref)}})

	app := stage.From(ref).Arg(arg.New("TARGETARCH")).Copy("app-${TARGETARCH}", "/app")
	files := fstest.MapFS{"app-amd64": {Data: []byte("x")}, "app-arm64": {Data: []byte("x")}}
	o := stagewright.Options{
		Context: stagewright.FS(files), CacheDir: t.TempDir(),
		Platforms: platform.MustParseSet("linux/riscv64,linux/arm64,linux/amd64"),
	}
	if _, err := stagewright.Build(t.Context(), app, o); err == nil || !strings.Contains(err.Error(), "linux/arm64") {
		t.Errorf("without Partial: error %v, want one about linux/arm64", err)
	}

	sink := &kept{}
	o.Partial, o.Sinks = true, []image.Sink{sink}
	o.IndexAnnotations = map[string]string{"a": "b"}
	res := build(app, o)
	if got := res.Platform().String(); got != "linux/amd64" || len(res.Outputs()) != 1 {
		t.Errorf("outputs are %v, the first for %s; want one for linux/amd64", res.Outputs(), got)
	}
	failed := res.Failed()
	if len(failed) != 2 || failed[0].Platform != o.Platforms[0] || failed[1].Platform != o.Platforms[1] {
		t.Fatalf("failed are %v, want linux/riscv64 and linux/arm64", failed)
	}
	if err := failed[0].Err; !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "app-riscv64") {
		t.Errorf("linux/riscv64: %v, want the missing file", err)
	}
	if err := failed[1].Err; !strings.Contains(err.Error(), "linux/amd64") {
		t.Errorf("linux/arm64: %v, want what platforms the base has", err)
	}
	if sink.Index == nil {
		t.Fatal("the sink got no index, although several platforms were asked for")
	}
	m, err := sink.Index.IndexManifest()
	if err != nil || len(m.Manifests) != 1 || m.Annotations["a"] != "b" || m.Manifests[0].Platform.String() != "linux/amd64" {
		t.Errorf("the sink got %v, %v; want an index of one image for linux/amd64", m, err)
	}
	files2, err := res.FilesOf(app)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat(files2, "app"); err != nil {
		t.Error(err)
	}

	delete(files, "app-amd64")
	o.Sinks = nil
	_, err = stagewright.Build(t.Context(), app, o)
	if err == nil || !strings.Contains(err.Error(), "app-amd64") || !strings.Contains(err.Error(), "app-riscv64") || !strings.Contains(err.Error(), "linux/arm64: ") {
		t.Errorf("nothing built: %v, want the reason for each platform", err)
	}
}

// A platform whose processes this machine cannot run, which is found before anything runs.
func TestPartialWithoutEmulator(t *testing.T) {
	s := stage.ForPlatform(func(p platform.Platform) stage.Stage {
		made := stage.Scratch().File("/a", "x")
		if p.Architecture == "s390x" {
			return made.Run("true")
		}
		return made
	})
	res := builder(t)(s, stagewright.Options{Partial: true, Platforms: platform.MustParseSet("linux/s390x,linux/amd64,linux/arm64")})
	failed := res.Failed()
	if len(failed) != 1 || failed[0].Platform.Architecture != "s390x" || !errors.Is(failed[0].Err, stage.ErrUnsupported) {
		t.Errorf("failed are %v, want linux/s390x with stage.ErrUnsupported", failed)
	}
	if n := len(res.Outputs()); n != 2 {
		t.Errorf("%d images, want 2", n)
	}
}

// A stage that is pinned to the build platform is done once for all.
func TestPinnedStageRunsOnce(t *testing.T) {
	var calls atomic.Int32
	tool := stage.Scratch(stage.As("tool"), stage.OnBuildPlatform()).
		Func("generate", "1", func(_ context.Context, _ fs.FS, out stage.Writer) error {
			calls.Add(1)
			return out.WriteFile("/generated", 0o644, strings.NewReader("x"))
		})
	app := stage.Scratch(stage.As("app")).CopyFrom(tool, "/generated", "/")
	res := builder(t)(app, stagewright.Options{Platforms: platform.MustParseSet("linux/amd64,linux/arm64,linux/s390x")})
	if got := calls.Load(); got != 1 || len(res.Outputs()) != 3 {
		t.Errorf("the function ran %d times for %d platforms, want once for 3", got, len(res.Outputs()))
	}
}

// A tool of which there is a binary for some platforms only.
func ExampleResult_Failed() {
	binaries := fstest.MapFS{"tool-amd64": {}, "tool-arm64": {}}
	app := stage.Scratch().Arg(arg.New("TARGETARCH")).Copy("tool-${TARGETARCH}", "/tool")
	res, err := stagewright.Build(context.Background(), app, stagewright.Options{
		Context:   stagewright.FS(binaries),
		Platforms: platform.MustParseSet("linux/amd64,linux/arm64,linux/riscv64"),
		Partial:   true,
		Store:     cache.NewMemory(),
	})
	if err != nil {
		panic(err)
	}
	defer res.Close()
	fmt.Println(len(res.Outputs()), "images")
	for _, f := range stage.FailedOf(res) {
		fmt.Println(f.Platform, errors.Is(f.Err, fs.ErrNotExist))
	}
	// Output:
	// 2 images
	// linux/riscv64 true
}
