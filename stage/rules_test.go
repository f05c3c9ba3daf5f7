package stage_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

var docker = stage.Compatible(stage.DockerRules{})

// TestGlobalArguments: in a stage with the rules of a Dockerfile, an argument without a
// value of its own has the global one.
func TestGlobalArguments(t *testing.T) {
	globals := stage.FromArgs(arg.New("A", arg.Default("global")), arg.New("NONE"))
	for _, c := range []struct {
		name  string
		given arg.Values
		stage stage.Stage
		want  string
	}{
		{"the global default", nil, stage.Scratch(docker, globals).Arg(arg.New("A")), "A=global"},
		{"an own default", nil, stage.Scratch(docker, globals).Arg(arg.New("A", arg.Default("own"))), "A=own"},
		{"a value", arg.Values{"A": "given"}, stage.Scratch(docker, globals).Arg(arg.New("A")), "A=given"},
		{"a global one without value", nil, stage.Scratch(docker, globals).Arg(arg.New("NONE")), ""},
		{"not declared", nil, stage.Scratch(docker, globals), ""},
		{"strict stages have none", nil, stage.Scratch(globals).Arg(arg.New("A")), ""},
		{"the target", nil, stage.Scratch(stage.Compatible(stage.DockerRules{Target: "app"})).Arg(arg.New("TARGETSTAGE")), "TARGETSTAGE=app"},
		{"no target", nil, stage.Scratch(docker).Arg(arg.New("TARGETSTAGE")), "TARGETSTAGE=default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := last(compileWith(t, stage.Options{Args: c.given}, c.stage.Run("true"))).Op.(*stage.RunOp).Env
			if got := strings.Join(env[1:], " "); got != c.want {
				t.Errorf("the process finds %q, want %q", got, c.want)
			}
		})
	}
}

// TestProxies: proxy arguments reach every Run, and its history and variables only when
// they are declared.
func TestProxies(t *testing.T) {
	o := stage.Options{Args: arg.Values{"http_proxy": "http://p", "NO_PROXY": "x"}}
	s := stage.Scratch().Arg(arg.New("NO_PROXY")).Run("true")
	step := last(compileWith(t, o, s))
	run := step.Op.(*stage.RunOp)
	if diff := cmp.Diff([]string{"NO_PROXY=x", "http_proxy=http://p"}, run.Proxy); diff != "" {
		t.Errorf("proxies (-want +got):\n%s", diff)
	}
	if !slices.Contains(run.Env, "NO_PROXY=x") || slices.Contains(run.Env, "http_proxy=http://p") {
		t.Errorf("environment %q", run.Env)
	}
	if strings.Contains(step.History, "http_proxy") || !strings.Contains(step.History, "NO_PROXY=x") {
		t.Errorf("history %q", step.History)
	}
}

// trigger is an Options.OnBuild that knows two instructions.
func trigger(texts []string, s stage.Stage) (stage.Stage, error) {
	for _, text := range texts {
		word, rest, _ := strings.Cut(text, " ")
		switch word {
		case "RUN":
			s = s.Run(rest)
		case "ENV":
			name, value, _ := strings.Cut(rest, "=")
			s = s.Env(name, value)
		default:
			return s, errors.New("unknown trigger")
		}
	}
	return s, nil
}

func TestTriggers(t *testing.T) {
	o := with(image.Config{OnBuild: []string{"ENV A='x y'", "RUN make"}})
	o.OnBuild = trigger
	child := stage.From("base", stage.As("child")).Run("own")
	g := compileWith(t, o, stage.From(child, stage.As("grandchild")).OnBuild("RUN later"))
	var texts []string
	for _, s := range g.Steps() {
		texts = append(texts, s.Stage+": "+s.Text)
	}
	want := []string{"child: FROM base", "child: ENV A=x y", "child: RUN /bin/sh -c make", "child: RUN /bin/sh -c own", "grandchild: ONBUILD RUN later"}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"RUN later"}, last(g).Config.OnBuild); diff != "" {
		t.Errorf("triggers for the next stage (-want +got):\n%s", diff)
	}
	errs := mistakes(t, with(image.Config{OnBuild: []string{"RUN make"}}), child)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "RUN make") || !strings.Contains(errs[0].Fix, "IgnoreOnBuild") {
		t.Errorf("without Options.OnBuild: %v", errs)
	}
	o = with(image.Config{OnBuild: []string{"MAKE"}})
	o.OnBuild = trigger
	if errs := mistakes(t, o, child); len(errs) != 1 || !strings.Contains(errs[0].Error(), "unknown trigger") {
		t.Errorf("a trigger that is refused: %v", errs)
	}
}

func TestPolicy(t *testing.T) {
	o := with(image.Config{Env: []string{"A=1"}})
	o.Policy = func(_ context.Context, ref string, _ platform.Platform) (string, error) {
		if ref == "evil" {
			return "", errors.New("evil is not allowed")
		}
		return "base", nil
	}
	if got := entry(last(compileWith(t, o, stage.From("other"))).Config.Env, "A"); got != "A=1" {
		t.Errorf("the reference that the policy gave was not used: A is %q", got)
	}
	errs := mistakes(t, o, stage.From("evil"), stage.Scratch().CopyFrom(stage.Image("evil"), "/x", "/"))
	if len(errs) == 0 || !strings.Contains(errs[0].Error(), "evil is not allowed") {
		t.Errorf("a refused reference: %v", errs)
	}
}

// TestLabelsOfTheBuild: they come last, only to the targets, without a line of history.
func TestLabelsOfTheBuild(t *testing.T) {
	base := stage.Scratch(stage.As("base")).Label("a", "stage", "b", "kept")
	g := compileWith(t, stage.Options{Labels: map[string]string{"a": "build"}}, stage.From(base, stage.As("app")), base)
	step := last(g)
	if diff := cmp.Diff(map[string]string{"a": "build", "b": "kept"}, step.Config.Labels); diff != "" || step.History != "" {
		t.Errorf("history %q, labels (-want +got):\n%s", step.History, diff)
	}
	for _, s := range g.Steps() {
		if s.Text == "LABEL a=stage b=kept" && s.Config.Labels["a"] != "stage" {
			t.Error("the label of the build changed the stage itself")
		}
	}
}

// TestRunDefaults: a step's own options win, and options of the build come first.
func TestRunDefaults(t *testing.T) {
	tools := stage.Scratch(stage.As("tools")).Mkdir("/bin")
	s := stage.Scratch().
		RunDefaults(stage.BindMount(tools, "/bin", "/tools"), stage.CacheMount("/c"), stage.WithNetwork(stage.NetworkNone)).
		Run("first").
		Run("second", stage.TmpfsMount("/c", 0), stage.WithNetwork(stage.NetworkHost))
	g := compileWith(t, stage.Options{Run: []stage.RunOption{stage.ExtraHost("h", "::1")}}, s, stage.From(s).Run("third"))
	var got []string
	for _, step := range g.Steps() {
		if run, ok := step.Op.(*stage.RunOp); ok {
			text := run.Command + " " + string(run.Network)
			for _, m := range run.Mounts {
				text += " " + string(m.Type)
			}
			got = append(got, text+" "+run.Hosts[0].Name)
		}
	}
	want := []string{"first none bind cache h", "second host bind tmpfs h", "third  h"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestUnset(t *testing.T) {
	o := with(image.Config{Env: []string{"PATH=/bin", "A=1", "BETA=2", "C=3"}})
	s := stage.From("base").Arg(arg.New("D", arg.Default("4"))).UnsetEnv("BETA").Env("C", "new", "E", "5").Run("true")
	step := last(compileWith(t, o, s))
	if diff := cmp.Diff([]string{"PATH=/bin", "A=1", "C=new", "E=5"}, step.Config.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if got := entry(step.Op.(*stage.RunOp).Env, "D"); got != "D=4" {
		t.Errorf("the argument is %q", got)
	}
	errs := mistakes(t, o, stage.From("base").UnsetEnv("BETTA"), stage.From("base").UnsetLabel("x"), stage.From("base").UnsetEnv("BETA").Label("l", "$BETA"))
	if len(errs) != 3 || strings.Contains(errs[2].Error(), "did you mean") || !strings.Contains(errs[0].Error(), `did you mean "BETA"?`) {
		t.Errorf("mistakes: %v", errs)
	}
}

// TestLayerOfAnotherStage: the fragment of Layer must go on where it began.
func TestLayerOfAnotherStage(t *testing.T) {
	other := stage.Scratch().Mkdir("/x")
	errs := mistakes(t, stage.Options{},
		stage.Scratch().Layer(func(stage.Stage) stage.Stage { return other }),
		stage.Scratch().Layer(func(s stage.Stage) stage.Stage { return s }),
		stage.Scratch().Layer(nil))
	if len(errs) != 3 {
		t.Errorf("mistakes: %v", errs)
	}
}

// TestOrderOfEnvironment: a process finds variables in the order in which they got their
// values, as in BuildKit; the image keeps the place of the first.
func TestOrderOfEnvironment(t *testing.T) {
	o := with(image.Config{Env: []string{"PATH=/bin", "A=1"}})
	parent := stage.From("base", stage.As("parent")).Arg(arg.New("B", arg.Default("2"))).Env("PATH", "/sbin", "C", "3").Arg(arg.New("A")).Label("l", "$A$B")
	for _, c := range []struct {
		name  string
		stage stage.Stage
		want  string
	}{
		{"the stage", parent, "A=1 B=2 PATH=/sbin C=3"},
		{"a stage built on it", stage.From(parent), "B=2 PATH=/sbin A=1 C=3"},
	} {
		step := last(compileWith(t, o, c.stage.Run("true")))
		if got := strings.Join(step.Op.(*stage.RunOp).Env, " "); got != c.want {
			t.Errorf("%s: the process finds %s, want %s", c.name, got, c.want)
		}
		if got := strings.Join(step.Config.Env, " "); got != "PATH=/sbin A=1 C=3" {
			t.Errorf("%s: the image keeps %s", c.name, got)
		}
	}
}

// TestWorkdirAsWritten: BuildKit keeps an absolute path as it is.
func TestWorkdirAsWritten(t *testing.T) {
	for _, c := range []struct{ dir, docker, strict string }{
		{"/app/", "/app/", "/app"}, {"/a/../b", "/a/../b", "/b"}, {"x/", "/srv/x", "/srv/x"}, {"/", "/", "/"},
	} {
		for want, rules := range map[string][]stage.FromOption{c.docker: {docker}, c.strict: nil} {
			step := last(compile(t, stage.Scratch(rules...).Workdir("/srv").Workdir(c.dir)))
			if got := step.Config.WorkingDir; got != want || step.Op.(*stage.WorkdirOp).Path != c.strict {
				t.Errorf("Workdir(%q), rules %v: %q, want %q; makes %s", c.dir, len(rules), got, want, step.Op.(*stage.WorkdirOp).Path)
			}
		}
	}
}

// TestBaseOfAnotherPlatform: a mistake, except in a stage with the rules of Dockerfiles, as
// in BuildKit, which warns.
func TestBaseOfAnotherPlatform(t *testing.T) {
	o := with(image.Config{})
	o.Platforms = platform.Set{arm64}
	other := stageResolver(func(ref string, p platform.Platform) (stage.BaseImage, error) {
		base, err := with(image.Config{}).Resolver.Resolve(context.Background(), ref, p)
		base.File.OS, base.File.Architecture = "linux", "amd64"
		return base, err
	})
	o.Resolver = other
	errs := mistakes(t, o, stage.From("base"), stage.Scratch().CopyFrom(stage.Image("base"), "/x", "/x"))
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), "linux/amd64, not for linux/arm64") {
		t.Errorf("strict stages: %v", errs)
	}
	g := compileWith(t, o, stage.From("base", docker))
	if got := g.Targets()[0].Declared; got != arm64 {
		t.Errorf("the image says it is for %v", got)
	}
}

type stageResolver func(ref string, p platform.Platform) (stage.BaseImage, error)

func (f stageResolver) Resolve(_ context.Context, ref string, p platform.Platform) (stage.BaseImage, error) {
	return f(ref, p)
}

func TestTriggersHaveNoHistory(t *testing.T) {
	if step := last(compile(t, stage.Scratch().OnBuild("RUN make"))); step.History != "" || step.Text == "" {
		t.Errorf("history %q, text %q", step.History, step.Text)
	}
}
