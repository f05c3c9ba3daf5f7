//go:build linux

package faulttest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// wanted names one image: a graph, and a number that is in some of its steps. Variants share the steps that do not have it.
type wanted struct {
	Graph   string
	Variant int
}

// variants is how many there are of each graph.
const variants = 3

func (n wanted) String() string { return fmt.Sprintf("%s/%d", n.Graph, n.Variant) }

// graph is a kind of build.
type graph struct {
	name    string
	runs    bool // it has Run steps
	needs   func(w *world) bool
	options func(w *world, o *stagewright.Options, variant int)
	target  func(b *bench, variant int) stage.Stage
}

// graphs are what is built: together they have every kind of step, of source and of blob. The text of a command, and what a function
// tells of itself, is another one for each step, so that what is executed can be counted. A command that meets an error fails: what it makes is its own affair otherwise.
var graphs = []graph{
	{name: "files", target: filesGraph, options: func(_ *world, o *stagewright.Options, _ int) {
		o.Platforms = platform.MustParseSet("linux/amd64,linux/arm64")
	}},
	{name: "func", target: funcGraph},
	{name: "large", target: largeGraph, options: func(_ *world, o *stagewright.Options, _ int) {
		o.Compression = image.Compression{Format: image.Zstd}
	}},
	{name: "sources", target: sourcesGraph, needs: func(w *world) bool { return w.Git != "" }},
	{name: "chain", runs: true, target: chainGraph},
	{name: "mounts", runs: true, target: mountsGraph},
	{name: "base", runs: true, target: baseGraph, options: func(w *world, o *stagewright.Options, v int) {
		o.Sinks = append(o.Sinks, registry.Push(fmt.Sprintf("%s/pushed:%d", w.Registry, v)))
	}},
	{name: "diamond", runs: true, target: diamondGraph},
	{name: "tidy", needs: func(*world) bool { return false }, target: tidyGraph}, // see wantTidy
}

// graphs returns the names of the graphs that can be built here.
func (w *world) graphs() []string {
	var list []string
	for _, g := range graphs {
		if (w.Sandbox || !g.runs) && (g.needs == nil || g.needs(w)) {
			list = append(list, g.name)
		}
	}
	return list
}

// shuffled returns them in an order of the seed's: a long test that is cut off is so somewhere else each time.
func (w *world) shuffled() []string {
	names := w.graphs()
	chance(0).Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
	return names
}

// bench is what targets are made from, in the process that builds.
type bench struct {
	*world
	ctx   context.Context
	base  stage.Stage     // with a shell, of all branches of a graph; see shell
	tools *toolbox.Binary // nil before the first use of base
	err   error
	books books // are told of each execution; empty for none
}

// find returns the stage and the options of what is wanted.
func (b *bench) find(n wanted) (stage.Stage, stagewright.Options, error) {
	o := stagewright.Options{Context: stagewright.Dir(filepath.Join(b.Files, "context"))}
	for _, g := range graphs {
		if g.name == n.Graph {
			if g.options != nil {
				g.options(b.world, &o, n.Variant)
			}
			s := g.target(b, n.Variant)
			return s, o, b.err
		}
	}
	return stage.Stage{}, o, fmt.Errorf("no graph is called %q", n.Graph)
}

// shell is a stage with a shell.
func (b *bench) shell() stage.Stage {
	if b.tools == nil {
		tools, err := toolbox.Build(b.ctx, "")
		b.err = errors.Join(b.err, err)
		b.tools = &tools
		b.base = stage.Scratch(stage.As("shell")).CopyFrom(stage.FS(tools.Files()), ".", "/")
	}
	return b.base
}

// told writes down that a command or a function begins.
func (b *bench) told(what string) {
	if b.books != "" {
		b.books.note(deed{Kind: "executed", Name: what, From: clock()})
	}
}

func filesGraph(_ *bench, v int) stage.Stage {
	src := stage.Scratch(stage.As("src")).Copy("src", "/src/").Copy("run.sh", "/usr/bin/").Copy("link", "/link").File("/v", fmt.Sprint(v))
	return stage.Scratch().Mkdir("/etc").File("/etc/conf", "a = b\n", stage.Mode(0o600)).
		CopyFrom(src, "/src", "/app").CopyFrom(src, "/v", "/app/v").Symlink("app/v", "/current").
		Add("packed.tar", "/").Remove("/packed/3").Workdir("/app").Cmd("/usr/bin/run.sh")
}

func funcGraph(b *bench, v int) stage.Stage {
	made := stage.Scratch(stage.As("made")).Func("make", fmt.Sprint(v), func(_ context.Context, _ fs.FS, out stage.Writer) error {
		b.told(fmt.Sprintf("make %d", v))
		for i := range 100 {
			if err := out.WriteFile(fmt.Sprintf("/made/%d", i), 0o644, bytes.NewReader(fmt.Appendf(nil, "made %d of %d\n", i, v))); err != nil {
				return err
			}
		}
		return out.Symlink("7", "/made/link")
	}).Func("sum", "1", func(_ context.Context, in fs.FS, out stage.Writer) error {
		b.told(fmt.Sprintf("sum %d", v))
		var all []byte
		for i := range 100 {
			data, err := fs.ReadFile(in, fmt.Sprintf("made/%d", i))
			if err != nil {
				return err
			}
			all = append(all, data...)
		}
		return errors.Join(out.WriteFile("/sum", 0o600, bytes.NewReader(all)), out.Remove("/made/9"))
	})
	return stage.Scratch().CopyFrom(made, "/made", "/made").CopyFrom(made, "/sum", "/sum")
}

// largeGraph has blobs that are synced one by one, for their size.
func largeGraph(b *bench, v int) stage.Stage {
	return stage.Scratch().Func("large", fmt.Sprint(v), func(_ context.Context, _ fs.FS, out stage.Writer) error {
		b.told(fmt.Sprintf("large %d", v))
		data := make([]byte, 5<<20)
		r := rand.NewChaCha8([32]byte{byte(v)})
		_, _ = r.Read(data)
		return out.WriteFile("/large", 0o644, bytes.NewReader(data))
	}).File("/small", "small\n")
}

func sourcesGraph(b *bench, v int) stage.Stage {
	return stage.Scratch().CopyFrom(stage.Git(b.Git), ".", "/git/").CopyFrom(stage.HTTP(b.Tar, b.TarSum), ".", "/tar/").
		AddFrom(stage.HTTP(b.Tar, b.TarSum), "/unpacked/", stage.UnpackArchive()).
		CopyFrom(stage.Image(b.Registry+"/base:1"), "/etc/base", "/base").File("/v", fmt.Sprint(v))
}

func chainGraph(b *bench, v int) stage.Stage {
	built := b.shell().Run("set -e; mkdir -p /out/d; for i in 1 2 3 4 5; do echo common $i > /out/d/$i; done").
		Run(fmt.Sprintf("set -e; mv /out/d /out/e; rm /out/e/2; ln /out/e/1 /out/e/hard; ln -s 1 /out/e/soft; echo %d > /out/e/3", v)).
		Run(fmt.Sprintf("set -e; : %d; rm /etc/group; mkdir /out/f; cat /out/e/* > /out/f/sum; chmod 4711 /out/f/sum", v))
	return stage.Scratch().CopyFrom(built, "/out", "/").File("/v", fmt.Sprint(v))
}

// mountsGraph fills cache mounts, and uses what is in them without a trace of how often.
func mountsGraph(b *bench, v int) stage.Stage {
	seed := stage.Scratch(stage.As("seed")).File("/seeded", "seed\n")
	built := b.shell().
		Run(fmt.Sprintf("set -e; echo %d >> /cache/log; echo built %d > /cache/%d; mkdir -p /out; cat /cache/%d > /out/a", v, v, v, v), stage.CacheMount("/cache", stage.ID("shared"))).
		Run(fmt.Sprintf("set -e; : %d; echo x >> /cache/log; cat /cache/seeded > /out/b", v), stage.CacheMount("/cache", stage.ID("seeded"), stage.SeedFrom(seed, "/"), stage.WithSharing(stage.Locked))).
		Run(fmt.Sprintf("set -e; : %d; echo tmp > /tmp/x; echo x > /own/x; cat /src/run.sh > /out/c", v), stage.CacheMount("/own", stage.ID("own"), stage.WithSharing(stage.Private)),
			stage.TmpfsMount("/tmp", 1<<20), stage.BindMount(stage.Context(), ".", "/src"))
	return stage.Scratch().CopyFrom(built, "/out", "/")
}

func baseGraph(b *bench, v int) stage.Stage {
	return stage.From(b.Registry+"/base:1").Run(fmt.Sprintf("set -e; cat /etc/base > /srv/new; echo %d >> /etc/base", v)).Env("V", fmt.Sprint(v)).
		Run(fmt.Sprintf("set -e; : %d; cp /etc/base /srv/again; rm /etc/passwd", v)).Copy("src/d1", "/srv/src/")
}

// diamondGraph has three branches that run side by side, and take long enough to be killed.
func diamondGraph(b *bench, v int) stage.Stage {
	all := stage.Scratch()
	for _, name := range []string{"left", "middle", "right"} {
		built := b.shell().Run(fmt.Sprintf("set -e; sleep 0.05; echo %s > /%s; sleep 0.05", name, name)).
			Run(fmt.Sprintf("set -e; echo %d >> /%s; (sleep 0.1; echo more >> /%s) & wait; grep -q more /%s", v, name, name, name))
		all = all.CopyFrom(built, stage.Files("/"+name), "/"+name)
	}
	return all
}

// tidyGraph has little to do, but that in every place that a cache has.
func tidyGraph(b *bench, v int) stage.Stage {
	if !b.Sandbox {
		return funcGraph(b, v)
	}
	return stage.Scratch().CopyFrom(b.shell().Run(fmt.Sprintf("set -e; echo %d > /tidy", v), stage.CacheMount("/cache", stage.ID("shared"))), "/tidy", "/")
}
