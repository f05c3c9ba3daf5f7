package dockerfile_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

func nothing(context.Context, fs.FS, stage.Writer) error { return nil }

// TestGoSourceRefuses says what has no text in Go, all of it at once.
func TestGoSourceRefuses(t *testing.T) {
	var inside stage.Stage
	grouped := stage.Scratch(stage.As("grouped")).Mkdir("/z").Layer(func(s stage.Stage) stage.Stage {
		inside = s.Mkdir("/a")
		return inside.Mkdir("/b")
	})
	for name, c := range map[string]struct {
		s         stage.Stage
		platforms string
		want      []string
	}{
		"functions": {stage.Scratch(stage.As("app")).Func("count", "v1", nothing).Arg(arg.New("A", arg.Validate(func(string) error { return nil }), arg.Default("x"))).Label("a", "$A").Func("more", "v2", nothing), "",
			[]string{"stage app: FUNC count v1: stage.Func is not supported", "FUNC more v2", "ARG A: arg.Validate"}},
		"platforms": {stage.ForPlatform(func(platform.Platform) stage.Stage { return stage.Scratch() }), "linux/amd64,linux/arm64",
			[]string{"stage.ForPlatform is not supported"}},
		"half a group": {stage.Scratch().CopyFrom(inside, "/a", "/a").CopyFrom(grouped, "/b", "/b"), "", []string{"stage grouped: LAYER", "another one uses"}},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := compileCase([]stage.Stage{c.s}, c.platforms, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = dockerfile.GoSource(g, dockerfile.GoOptions{})
			var unsupported *dockerfile.UnsupportedError
			if !errors.As(err, &unsupported) {
				t.Fatalf("error %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
		})
	}
}

// TestGoSourceNames refuses names that Go has not, and programs that need values of another one.
func TestGoSourceNames(t *testing.T) {
	g, err := compileCase([]stage.Stage{stage.Scratch().CopyFrom(stage.FS(files), ".", "/")}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []dockerfile.GoOptions{{}, {Package: "a-b"}, {Package: "x", Func: "func"}, {Func: "main"}, {Package: "_"}} {
		if out, err := dockerfile.GoSource(g, o); err == nil {
			t.Errorf("%+v: no error\n%s", o, out)
		}
	}
}
