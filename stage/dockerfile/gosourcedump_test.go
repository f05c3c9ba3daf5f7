package dockerfile_test

// This file is also part of the program that TestGoSource compiles: it imports nothing
// of the tests.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing/fstest"

	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

// files and archive are what the cases read that have such parameters.
var files fs.FS = fstest.MapFS{"a.txt": {Data: []byte("a")}}

func archive() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }

// compileCase compiles stages for the platforms, on images that need no registry.
func compileCase(targets []stage.Stage, platforms string, args map[string]string) (*stage.Graph, error) {
	return compileTriggers(targets, platforms, args, dockerfile.OnBuild)
}

func compileTriggers(targets []stage.Stage, platforms string, args map[string]string, onBuild func([]string, stage.Stage) (stage.Stage, error)) (*stage.Graph, error) {
	if platforms == "" {
		platforms = "linux/amd64"
	}
	return stage.Compile(context.Background(), targets, stage.Options{
		Platforms: platform.MustParseSet(platforms), BuildPlatform: platform.MustParse("linux/amd64"),
		Args: arg.Values(args), Resolver: bases{}, OnBuild: onBuild,
	})
}

// bases resolves every reference to an image with some configuration; those named
// onbuild have triggers.
type bases struct{}

func (bases) Resolve(_ context.Context, ref string, p platform.Platform) (stage.BaseImage, error) {
	b := stage.BaseImage{Name: ref, Digest: digest.FromString(ref + p.String())}
	b.File = image.File{Config: image.Config{
		Env: []string{"PATH=/usr/bin:/bin", "BASE=" + ref}, Labels: map[string]string{"old": "1"},
		ExposedPorts: map[string]struct{}{"22/tcp": {}}, Volumes: map[string]struct{}{"/old": {}},
	}}
	if strings.Contains(ref, "onbuild") {
		b.File.Config.OnBuild = []string{"ARG TARGETSTAGE", "ARG GLOBAL", "COPY . /src"}
	}
	return b, nil
}

// dump is a graph as text: all that makes a difference, without positions.
func dump(g *stage.Graph) string {
	var b bytes.Buffer
	for _, t := range g.Targets() {
		fmt.Fprintln(&b, "target", t.Stage, t.Platform, t.Step)
	}
	for _, s := range g.Steps() {
		fmt.Fprintln(&b, s.ID, s.Stage, s.Platform, s.Kind(), s.Parent, s.Inputs, s.Deferred)
		fmt.Fprintf(&b, "\t%q\n\t%q\n", s.Text, s.History)
		fmt.Fprintln(&b, "\t"+asJSON(s.Config), s.Author)
		fmt.Fprintln(&b, "\t"+dumpOp(s.Op))
	}
	return b.String()
}

func dumpOp(op stage.Op) string {
	switch op := op.(type) {
	case *stage.ConfigOp:
		return op.Instruction // its words are as written; the configuration has what they are
	case *stage.ArgOp:
		var list []string
		for _, a := range op.Args {
			list = append(list, a.Name())
		}
		return fmt.Sprint(list)
	case *stage.CopyOp:
		c, from := *op, dumpSource(op.From)
		c.From = nil
		return from + " " + asJSON(c)
	case *stage.RunOp:
		r := *op
		r.Mounts = append([]stage.Mount(nil), op.Mounts...)
		from := ""
		for i := range r.Mounts {
			if r.Mounts[i].From != nil {
				from += dumpSource(r.Mounts[i].From) + " "
				r.Mounts[i].From = nil
			}
		}
		return from + asJSON(r)
	}
	return asJSON(op)
}

func dumpSource(from stage.Source) string {
	switch s := from.(type) {
	case stage.DirSource, stage.HTTPSource, stage.GitSource:
		return fmt.Sprintf("%T %s", s, asJSON(s))
	case stage.TarSource:
		return "tar " + s.Name
	case stage.FSSource:
		return "fs " + s.Name
	}
	return from.String()
}

func asJSON(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}
