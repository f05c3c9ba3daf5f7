package stage_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; run with -update when that is meant (-want +got):\n%s", path, diff)
	}
}

var (
	amd64 = platform.MustParse("linux/amd64")
	arm64 = platform.MustParse("linux/arm64")
	armv7 = platform.MustParse("linux/arm/v7")
)

// fixed makes results independent of the machine.
func fixed(o stage.Options) stage.Options {
	if o.BuildPlatform == (platform.Platform{}) {
		o.BuildPlatform = amd64
	}
	return o
}

func compileWith(t *testing.T, o stage.Options, targets ...stage.Stage) *stage.Graph {
	t.Helper()
	g, err := stage.Compile(t.Context(), targets, fixed(o))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func compile(t *testing.T, targets ...stage.Stage) *stage.Graph {
	t.Helper()
	return compileWith(t, stage.Options{}, targets...)
}

// last is the step that the first target ends with.
func last(g *stage.Graph) *stage.Step { return g.Steps()[g.Targets()[0].Step] }

func configOf(t *testing.T, s stage.Stage) *image.Config {
	t.Helper()
	return last(compile(t, s)).Config
}

func mistakes(t *testing.T, o stage.Options, targets ...stage.Stage) stage.Errors {
	t.Helper()
	g, err := stage.Compile(t.Context(), targets, fixed(o))
	if g != nil {
		t.Error("a graph beside an error")
	}
	var errs stage.Errors
	if !errors.As(err, &errs) {
		t.Fatalf("error %v, want a stage.Errors", err)
	}
	return errs
}

// registry resolves references from a map and counts what it is asked.
type registry struct {
	images map[string]image.Config
	err    error

	mu    sync.Mutex
	asked map[string]int
}

func (r *registry) Resolve(ctx context.Context, ref string, p platform.Platform) (stage.BaseImage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = map[string]int{}
	}
	r.asked[ref+" "+p.String()]++
	if r.err != nil {
		return stage.BaseImage{}, r.err
	}
	cfg, ok := r.images[ref]
	if !ok {
		return stage.BaseImage{}, errors.New(ref + " does not exist")
	}
	return stage.BaseImage{Name: "example.com/" + ref, Digest: digest.FromString("base"), File: image.File{Config: cfg}}, nil
}

func with(cfg image.Config) stage.Options {
	return stage.Options{Resolver: &registry{images: map[string]image.Config{"base": cfg}}}
}

// resolverFunc knows every image, unless it returns an error.
type resolverFunc func(ref string) error

func (f resolverFunc) Resolve(_ context.Context, ref string, _ platform.Platform) (stage.BaseImage, error) {
	return stage.BaseImage{Name: ref, Digest: digest.FromString(ref)}, f(ref)
}
