package stage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// sample has every kind of step.
func sample() stage.Stage {
	builder := stage.From("golang:${GO}", stage.As("builder"), stage.FromArgs(arg.New("GO", arg.Default("1.26"))), stage.OnBuildPlatform()).
		Arg(arg.New("TARGETARCH")).
		Workdir("/src").
		Copy(".", ".").
		Script("go vet ./...\nGOARCH=$TARGETARCH go build -o /out/app .", stage.CacheMount("/root/.cache"), stage.BindMount(stage.Dir("tools"), ".", "/tools"))
	tests := stage.From(builder, stage.As("tests")).Run(`go test "./..." > <report>`)
	return stage.Scratch().
		Needs(tests).
		CopyFrom(builder, "/out/app", "/app").
		CopyFrom(stage.FS(fstest.MapFS{}), ".", "/etc/").
		File("/etc/motd", "hi").Mkdir("/data").Symlink("/data", "/d").Remove("/tmp", stage.MayBeAbsent()).
		Label("a", "b").
		Cmd("/app")
}

func TestGraphPrinted(t *testing.T) {
	o := stage.Options{
		Platforms: platform.Set{amd64, arm64},
		Resolver:  &registry{images: map[string]image.Config{"golang:1.26": {Env: []string{"PATH=/bin"}}}},
	}
	g := compileWith(t, o, sample())
	text, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "graph.json", withoutPositions(b.String())+"\n")
	golden(t, "graph.dot", g.DOT())
	golden(t, "graph.mmd", g.Mermaid())

	again, err := json.Marshal(compileWith(t, o, sample()))
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("the same stages print differently: %v", err)
	}
}

func withoutPositions(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if before, _, ok := strings.Cut(line, `"at": "graph_test.go:`); ok {
			lines[i] = before + `"at": "graph_test.go#"`
		}
	}
	return strings.Join(lines, "\n")
}

func TestStepsComeAfterWhatTheyNeed(t *testing.T) {
	kinds := map[string]bool{}
	for i, s := range compile(t, sample()).Steps() {
		kinds[s.Kind()] = true
		if s.ID != i || s.Parent >= i || slices.ContainsFunc(s.Inputs, func(in int) bool { return in >= i || in < 0 }) {
			t.Errorf("step %d has ID %d, parent %d, inputs %v", i, s.ID, s.Parent, s.Inputs)
		}
	}
	if len(kinds) != 11 {
		t.Errorf("kinds %v, want all 11", kinds)
	}
}

func TestGraphStep(t *testing.T) {
	builder := stage.Scratch(stage.OnBuildPlatform()).Mkdir("/out")
	app := stage.Scratch().CopyFrom(builder, "/out", "/out")
	g := compileWith(t, stage.Options{Platforms: platform.Set{amd64, arm64}}, app)
	x, ok1 := g.Step(builder, amd64)
	y, ok2 := g.Step(builder, arm64)
	if !ok1 || !ok2 || x != y {
		t.Errorf("the pinned stage is step %d (%v) and %d (%v), want one", x, ok1, y, ok2)
	}
	x, _ = g.Step(app, amd64)
	y, _ = g.Step(app, arm64)
	if x == y || x != g.Targets()[0].Step || y != g.Targets()[1].Step {
		t.Errorf("targets are steps %d and %d, want %v", x, y, g.Targets())
	}
	for _, s := range []stage.Stage{{}, stage.Scratch(), app.Mkdir("/more")} {
		if _, ok := g.Step(s, amd64); ok {
			t.Errorf("%v is in the graph", s)
		}
	}
	if _, ok := g.Step(app, armv7); ok {
		t.Error("a platform that was not asked for is in the graph")
	}
}

func TestStagesAreImmutable(t *testing.T) {
	argv := []string{"a", "b"}
	parts := []string{"/a", "/b"}
	health := stage.Health{Exec: []string{"check"}}
	args := []arg.Arg{arg.New("A", arg.Default("1"))}
	trunk := stage.Scratch().Arg(args...).Env("X", "$A").RunExec(argv).Cmd(argv...).Entrypoint(argv...).Shell(argv...).
		Volume(parts...).ExposeSpec("80").Healthcheck(health).Label("l", "1")
	left := trunk.Env("L", "1").Label("l", "left").Volume("/left").Expose(1)
	right := trunk.Env("R", "1").Label("l", "right").Volume("/right").Expose(2)
	argv[0], parts[0], health.Exec[0], args[0] = "changed", "changed", "changed", arg.New("B")

	g := compile(t, left, right, trunk)
	print := func(i int) string {
		c := *g.Steps()[g.Targets()[i].Step].Config
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want := func(env, label, volume, port string) string {
		return `{"ExposedPorts":{` + port + `"80/tcp":{}},"Env":["` + defaultPath + `","X=1"` + env + `],"Entrypoint":["a","b"],"Cmd":["a","b"],` +
			`"Volumes":{"/a":{},"/b":{}` + volume + `},"WorkingDir":"/","Labels":{"l":"` + label + `"},"Healthcheck":{"Test":["CMD","check"]},"Shell":["a","b"]}`
	}
	for i, w := range []string{
		want(`,"L=1"`, "left", `,"/left":{}`, `"1/tcp":{},`),
		want(`,"R=1"`, "right", `,"/right":{}`, `"2/tcp":{},`),
		want("", "1", "", ""),
	} {
		if got := print(i); got != w {
			t.Errorf("target %d\n got %s\nwant %s", i, got, w)
		}
	}
	again := compile(t, left, right, trunk)
	if diff := cmp.Diff(g.DOT(), again.DOT()); diff != "" {
		t.Errorf("a second compilation differs:\n%s", diff)
	}
}

func TestSharedStagesAreCompiledOnce(t *testing.T) {
	builder := stage.Scratch(stage.As("b")).Mkdir("/out")
	g := compile(t, stage.Scratch().CopyFrom(builder, "/out", "/a"), stage.Scratch().CopyFrom(builder, "/out", "/b"), builder)
	if n := len(g.Steps()); n != 6 {
		t.Errorf("%d steps, want 6:\n%s", n, g.DOT())
	}
}

func TestNamed(t *testing.T) {
	builder := stage.Scratch(stage.As("Builder")).Mkdir("/out")
	user := stage.Scratch(stage.As("user")).CopyFrom(stage.Named("builder"), "/out", "/out")
	for name, c := range map[string]struct {
		targets, stages []stage.Stage
	}{
		"another target":             {targets: []stage.Stage{user, builder}},
		"what another target copies": {targets: []stage.Stage{user, stage.Scratch().CopyFrom(builder, "/", "/")}},
		"what another target mounts": {targets: []stage.Stage{user, stage.Scratch().Run("x", stage.BindMount(builder, "/", "/m"))}},
		"what another target needs":  {targets: []stage.Stage{user, stage.Scratch().Needs(builder)}},
		"what a platform chooses":    {targets: []stage.Stage{user, stage.ForPlatform(func(platform.Platform) stage.Stage { return builder })}},
		"Options.Stages":             {targets: []stage.Stage{user}, stages: []stage.Stage{builder}},
		"below Options.Stages":       {targets: []stage.Stage{user}, stages: []stage.Stage{stage.Scratch().CopyFrom(builder, "/", "/")}},
	} {
		t.Run(name, func(t *testing.T) {
			g := compileWith(t, stage.Options{Stages: c.stages}, c.targets...)
			want, ok := g.Step(builder, amd64)
			if got := last(g).Inputs; !ok || !slices.Equal(got, []int{want}) {
				t.Errorf("inputs %v, want %d (%v)", got, want, ok)
			}
		})
	}
	if n := len(compileWith(t, stage.Options{Stages: []stage.Stage{builder}}, stage.Scratch()).Steps()); n != 1 {
		t.Errorf("Options.Stages are compiled without need: %d steps", n)
	}
}

func TestPlatforms(t *testing.T) {
	calls := map[platform.Platform]int{}
	chosen := stage.ForPlatform(func(p platform.Platform) stage.Stage {
		calls[p]++
		if p.Architecture == "arm" {
			return stage.From("small")
		}
		return stage.From("large:$TARGETARCH")
	})
	pinned := stage.From("tool", stage.OnPlatform(armv7))
	target := stage.From(chosen).CopyFrom(stage.From(pinned).Mkdir("/x"), "/x", "/x").CopyFrom(chosen, "/y", "/y")
	r := &registry{images: map[string]image.Config{"small": {}, "large:arm64": {}, "large:amd64": {}, "tool": {}}}
	g := compileWith(t, stage.Options{Platforms: platform.Set{amd64, arm64, armv7}, Resolver: r}, target)
	var bases []string
	for _, s := range g.Steps() {
		if b, ok := s.Op.(*stage.BaseOp); ok {
			bases = append(bases, b.Ref+" "+s.Platform.String())
		}
		if s.Kind() == "mkdir" && s.Platform != armv7 {
			t.Errorf("a stage built from a pinned one is for %s", s.Platform)
		}
	}
	if want := []string{"large:amd64 linux/amd64", "tool linux/arm/v7", "large:arm64 linux/arm64", "small linux/arm/v7"}; !slices.Equal(bases, want) {
		t.Errorf("bases %q, want %q", bases, want)
	}
	for _, p := range []platform.Platform{amd64, arm64, armv7} {
		if calls[p] != 1 {
			t.Errorf("the function was called %d times for %s", calls[p], p)
		}
	}
	for what, n := range r.asked {
		if n != 1 {
			t.Errorf("the resolver was asked %d times for %s", n, what)
		}
	}
}

func TestResolverErrors(t *testing.T) {
	down := errors.New("registry is down")
	errs := mistakes(t, stage.Options{Resolver: &registry{err: down}}, stage.From("a:1"), stage.From("b:1"))
	if len(errs) != 2 || !errors.Is(errs, down) || errs[0].Pos.Line == 0 {
		t.Errorf("errors %v, want one for each image", errs)
	}
}

// TestResolverIsAskedConcurrently: the resolver answers only when two references
// wait for it.
func TestResolverIsAskedConcurrently(t *testing.T) {
	meet := make(chan struct{})
	r := resolverFunc(func(ref string) error {
		select {
		case meet <- struct{}{}:
		case <-meet:
		case <-t.Context().Done():
			return t.Context().Err()
		}
		return nil
	})
	compileWith(t, stage.Options{Resolver: r}, stage.From("a"), stage.From("b"))
}

// TestDeferred: without a resolver, texts that use what only the base can define
// stay as they are and are not judged; the rest is checked.
func TestDeferred(t *testing.T) {
	s := stage.From("alpine").Env("A", "1").Workdir("/x/$A").ExposeSpec("$PORT").User("${WHO:-me}").Copy("x", "/y", stage.Chmod("$MODE"), stage.Chown("$A"))
	g := compile(t, s)
	var got []string
	for _, step := range g.Steps() {
		got = append(got, fmt.Sprint(step.Text, " ", step.Deferred))
	}
	want := []string{"FROM alpine []", "ENV A=1 []", "WORKDIR /x/1 []", "EXPOSE [PORT]", "USER ${WHO:-me} [WHO]", "COPY x /y [MODE]"}
	if diff := cmp.Diff(want, got); diff != "" || !g.Deferred() {
		t.Errorf("deferred %v (-want +got):\n%s", g.Deferred(), diff)
	}
	if compile(t, stage.Scratch()).Deferred() {
		t.Error("a graph without base images waits for one")
	}
	mistakes(t, stage.Options{}, stage.From("alpine").User(""))
}

// TestChosenStagesAreThemselves: a target that ForPlatform or Named stands for keeps its own triggers, which are for whoever builds
// on it, and what is chosen for different platforms may have one name.
func TestChosenStagesAreThemselves(t *testing.T) {
	chosen := stage.ForPlatform(func(p platform.Platform) stage.Stage {
		return stage.Scratch(stage.As("app")).Mkdir("/" + p.Architecture).OnBuild("RUN true")
	})
	both := stage.Options{Platforms: platform.Set{amd64, arm64}}
	user := stage.Scratch().CopyFrom(stage.Named("app"), "/", "/all")
	for name, targets := range map[string][]stage.Stage{
		"itself":    {chosen},
		"continued": {chosen.Mkdir("/more")},
		"named":     {chosen, stage.Named("app")},
		"copied":    {chosen, user},
	} {
		g := compileWith(t, both, targets...)
		for _, target := range g.Targets() {
			step := g.Steps()[target.Step]
			if name != "copied" && !slices.Equal(step.Config.OnBuild, []string{"RUN true"}) {
				t.Errorf("%s: on %s the triggers are %q", name, target.Platform, step.Config.OnBuild)
			}
			for at := target.Step; at >= 0; at = g.Steps()[at].Parent {
				for _, from := range g.Steps()[at].Inputs {
					if got := g.Steps()[from].Platform; got != target.Platform {
						t.Errorf("%s: on %s app is that of %s", name, target.Platform, got)
					}
				}
			}
		}
	}
	if errs := mistakes(t, both, stage.From(chosen)); len(errs) != 1 || !strings.Contains(errs[0].Error(), "the base has ONBUILD triggers") {
		t.Errorf("built on a stage with triggers: %v", errs)
	}
	if errs := mistakes(t, both, chosen, stage.Scratch(stage.As("app"))); len(errs) == 0 || !strings.Contains(errs.Error(), "the name app is taken") {
		t.Errorf("two stages with one name on one platform: %v", errs)
	}
}
