package stage_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// TestPrecedence: what a Run finds, and what the image keeps, follows the order
// of ARG and ENV.
func TestPrecedence(t *testing.T) {
	a := func(o ...arg.Option) arg.Arg { return arg.New("A", o...) }
	def := arg.Default("default")
	for _, c := range []struct {
		name  string
		given arg.Values
		stage stage.Stage
		run   string // A in the environment of the Run
		keep  string // A in the configuration of the image
	}{
		{"default", nil, stage.Scratch().Arg(a(def)), "A=default", ""},
		{"given beats the default", arg.Values{"A": "given"}, stage.Scratch().Arg(a(def)), "A=given", ""},
		{"given empty beats the default", arg.Values{"A": ""}, stage.Scratch().Arg(a(def)), "A=", ""},
		{"empty default is set", nil, stage.Scratch().Arg(a(arg.Default(""))), "A=", ""},
		{"without value it is not set", nil, stage.Scratch().Arg(a()), "", ""},
		{"ENV after ARG wins", arg.Values{"A": "given"}, stage.Scratch().Arg(a()).Label("l", "$A").Env("A", "env"), "A=env", "A=env"},
		{"ARG with a value after ENV wins for the build only", nil, stage.Scratch().Env("A", "env").Arg(a(def)), "A=default", "A=env"},
		{"ARG with a value after the base's ENV", arg.Values{"A": "given"}, stage.From("base").Arg(a()), "A=given", "A=base"},
		{"ARG without value changes nothing", nil, stage.From("base").Arg(a()), "A=base", "A=base"},
		{"ENV applies anew in the next stage", nil, stage.From(stage.Scratch().Env("A", "env").Arg(a(def)).Label("l", "$A")), "A=env", "A=env"},
		{"ARG goes on to the next stage", nil, stage.From(stage.Scratch().Arg(a(def))), "A=default", ""},
		{"a later ARG wins", nil, stage.Scratch().Arg(a(def)).Label("l", "$A").Arg(a(arg.Default("second"))), "A=second", ""},
		{"defaults see earlier arguments", nil, stage.Scratch().Arg(arg.New("B", arg.Default("b")), a(arg.Default("a$B"))), "A=ab", ""},
		{"defaults see the environment", nil, stage.From("base").Arg(a(arg.Default("$A!"))), "A=base!", "A=base"},
		{"a default that is not needed is not evaluated", arg.Values{"A": "given"}, stage.Scratch().Arg(a(arg.Default("${Y:?missing}"))), "A=given", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := with(image.Config{Env: []string{"A=base"}})
			o.Args = c.given
			step := last(compileWith(t, o, c.stage.Run("true")))
			if got := entry(step.Op.(*stage.RunOp).Env, "A"); got != c.run {
				t.Errorf("the process finds %q, want %q", got, c.run)
			}
			if got := entry(step.Config.Env, "A"); got != c.keep {
				t.Errorf("the image keeps %q, want %q", got, c.keep)
			}
		})
	}
}

func entry(env []string, name string) string {
	var found []string
	for _, e := range env {
		if strings.HasPrefix(e, name+"=") {
			found = append(found, e)
		}
	}
	return strings.Join(found, " ")
}

func TestPlatformArguments(t *testing.T) {
	names := strings.Fields("TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDOS BUILDARCH BUILDVARIANT")
	var args []arg.Arg
	for _, n := range names {
		args = append(args, arg.New(n))
	}
	run := stage.Scratch().Arg(args...).Run("true")
	op := last(compileWith(t, stage.Options{Platforms: platform.Set{armv7}}, run)).Op.(*stage.RunOp)
	want := []string{
		"TARGETPLATFORM=linux/arm/v7", "TARGETOS=linux", "TARGETARCH=arm", "TARGETVARIANT=v7",
		"BUILDPLATFORM=linux/amd64", "BUILDOS=linux", "BUILDARCH=amd64", "BUILDVARIANT=",
	}
	if diff := cmp.Diff(want, op.Args); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	arch := func(o ...arg.Option) stage.Stage { return stage.Scratch().Arg(arg.New("TARGETARCH", o...)).Run("true") }
	get := func(v arg.Values, s stage.Stage) string {
		return last(compileWith(t, stage.Options{Args: v}, s)).Op.(*stage.RunOp).Args[0]
	}
	if got := get(nil, arch(arg.Default("mine"))); got != "TARGETARCH=mine" {
		t.Errorf("a default of one's own gives %s", got)
	}
	if got := get(arg.Values{"TARGETARCH": "given"}, arch(arg.Default("mine"))); got != "TARGETARCH=given" {
		t.Errorf("a given value gives %s", got)
	}
	if got := last(compile(t, stage.Scratch().Run("true"))).Op.(*stage.RunOp); len(got.Args) != 0 || entry(got.Env, "TARGETARCH") != "" {
		t.Errorf("without declaration a process finds %q", got.Env)
	}
}

// TestPredefined: values for these need no declaration.
func TestPredefined(t *testing.T) {
	compileWith(t, stage.Options{Args: arg.Values{"HTTP_PROXY": "x", "no_proxy": "x", "SOURCE_DATE_EPOCH": "0", "TARGETOS": "linux"}}, stage.Scratch())
}

func TestFromArguments(t *testing.T) {
	r := &registry{images: map[string]image.Config{"go:1.26-arm64": {}}}
	s := stage.From("${NAME}:${VERSION}-$TARGETARCH", stage.FromArgs(arg.New("VERSION"), arg.New("NAME", arg.Default("${BASE:-go}"))))
	o := stage.Options{Resolver: r, Platforms: platform.Set{arm64}, Args: arg.Values{"VERSION": "1.26"}}
	if got := compileWith(t, o, s).Steps()[0].Text; got != "FROM go:1.26-arm64" {
		t.Errorf("base %q", got)
	}
}

// TestExpansion: every place that expands, and every one that must not.
func TestExpansion(t *testing.T) {
	builder := stage.Scratch(stage.As("b"))
	s := stage.Scratch().Arg(arg.New("A", arg.Default("x"))).
		Workdir("/w$A").
		Copy(stage.Files("$A", "${A}y"), "$A/", stage.Chown("$A"), stage.Chmod("64${A/x/4}")).
		CopyFrom(builder, "/$A", "$A").
		File("$A", "$A", stage.Owner("$A:$A")).
		Mkdir("/$A", stage.Owner("$A")).
		Symlink("../$A", "$A").
		Remove("$A").
		Run("$A", stage.CacheMount("c$A"), stage.TmpfsMount("/t/$A", 1), stage.BindMount(builder, "/$A", "/b/$A")).
		RunExec([]string{"$A"}).
		Cmd("$A").Entrypoint("$A").Shell("$A").Healthcheck(stage.Health{Shell: "$A"})
	steps := compile(t, s).Steps()
	ops := map[string]stage.Op{}
	for _, step := range steps {
		if _, ok := ops[step.Kind()]; !ok || step.Kind() == "copy" && len(step.Inputs) == 0 {
			ops[step.Kind()] = step.Op
		}
	}
	cp := ops["copy"].(*stage.CopyOp)
	if !slices.Equal(cp.Paths, []string{"x", "xy"}) || cp.Dest != "/wx/x/" || cp.Chown != "x" || cp.Chmod != "644" {
		t.Errorf("copy %+v", cp)
	}
	if f := ops["file"].(*stage.FileOp); f.Path != "/wx/x" || f.Owner != "x:x" || string(f.Content) != "$A" {
		t.Errorf("file %+v", f)
	}
	if m := ops["mkdir"].(*stage.MkdirOp); m.Path != "/x" || m.Owner != "x" {
		t.Errorf("mkdir %+v", m)
	}
	if l := ops["symlink"].(*stage.SymlinkOp); l.Path != "/wx/x" || l.Target != "../x" {
		t.Errorf("symlink %+v", l)
	}
	if r := ops["remove"].(*stage.RemoveOp); r.Path != "/wx/x" {
		t.Errorf("remove %+v", r)
	}
	run := ops["run"].(*stage.RunOp)
	if m := run.Mounts; m[0].Target != "/wx/cx" || m[0].ID != "/wx/cx" || m[1].Target != "/t/x" || m[2].Target != "/b/x" || m[2].Path != "x" {
		t.Errorf("mounts %+v", m)
	}
	if !slices.Equal(run.Argv, []string{"/bin/sh", "-c", "$A"}) || run.Dir != "/wx" {
		t.Errorf("run %+v", run)
	}
	cfg := steps[len(steps)-1].Config
	if cfg.Cmd[0] != "$A" || cfg.Entrypoint[0] != "$A" || cfg.Shell[0] != "$A" || cfg.Healthcheck.Test[1] != "$A" {
		t.Errorf("configuration %+v", cfg)
	}
}
