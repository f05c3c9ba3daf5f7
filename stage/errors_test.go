package stage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// mistake is one way to write a stage wrongly.
type mistake struct {
	name    string
	options stage.Options
	stages  []stage.Stage
}

func one(name string, s ...stage.Stage) mistake { return mistake{name: name, stages: s} }

func given(name string, args arg.Values, s stage.Stage) mistake {
	return mistake{name, stage.Options{Args: args}, []stage.Stage{s}}
}

// TestMistakes holds every message to its golden text: where, which stage, what,
// near names, and what to write instead.
func TestMistakes(t *testing.T) {
	var all []mistake
	all = append(all, nameMistakes()...)
	all = append(all, argMistakes()...)
	all = append(all, configMistakes()...)
	all = append(all, fileMistakes()...)
	all = append(all, runMistakes()...)
	var b strings.Builder
	for _, m := range all {
		_, err := stage.Compile(t.Context(), m.stages, fixed(m.options))
		if err == nil {
			t.Errorf("%s: no error", m.name)
		}
		fmt.Fprintf(&b, "== %s\n%v\n\n", m.name, err)
	}
	// Line numbers move whenever this file is edited: TestPositions has exact ones.
	golden(t, "mistakes.golden", withoutLines(b.String()))
}

func withoutLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	for i, line := range lines {
		for {
			before, after, ok := strings.Cut(line, "_test.go:")
			if !ok {
				break
			}
			line = before + "_test.go#" + strings.TrimLeft(after, "0123456789")
		}
		lines[i] = line
	}
	return strings.Join(lines, "")
}

func scratch() stage.Stage { return stage.Scratch(stage.As("app")) }

func nameMistakes() []mistake {
	builder := stage.Scratch(stage.As("builder")).Mkdir("/out")
	fork := builder.Mkdir("/more")
	loop := stage.Scratch(stage.As("loop")).CopyFrom(stage.Named("loop"), "/x", "/x")
	ping := stage.Scratch(stage.As("ping")).CopyFrom(stage.Named("pong"), "/x", "/x")
	pong := stage.Scratch(stage.As("pong")).CopyFrom(stage.Named("ping"), "/x", "/x")
	var self stage.Stage
	self = stage.ForPlatform(func(platform.Platform) stage.Stage { return self.Mkdir("/x") })
	var endless func(platform.Platform) stage.Stage
	endless = func(platform.Platform) stage.Stage { return stage.ForPlatform(endless) }
	return []mistake{
		one("reserved name", stage.Scratch(stage.As("scratch"))),
		one("reserved name in capitals", stage.Scratch(stage.As("Context"))),
		one("name with a blank", stage.Scratch(stage.As("my app"))),
		one("name that begins with a digit", stage.Scratch(stage.As("1st"))),
		one("two stages of one name", stage.Scratch(stage.As("app")), stage.Scratch(stage.As("APP")).Mkdir("/x")),
		one("unknown name, near", scratch().CopyFrom(builder, "/out", "/").CopyFrom(stage.Named("bulder"), "/out", "/")),
		one("unknown name, none near", scratch().CopyFrom(stage.Named("frontend"), "/out", "/")),
		one("unknown name, no names", stage.From(stage.Named("frontend"))),
		one("ambiguous name", scratch().CopyFrom(builder, "/out", "/a").CopyFrom(fork, "/out", "/b").CopyFrom(stage.Named("builder"), "/out", "/c")),
		one("cycle by name", loop),
		one("cycle by two names", ping, pong),
		one("cycle by ForPlatform", self),
		one("endless ForPlatform", stage.ForPlatform(endless)),
		one("ForPlatform without function", stage.ForPlatform(nil)),
		one("ForPlatform without choice", stage.ForPlatform(func(platform.Platform) stage.Stage { return stage.Stage{} })),
		one("zero stage as target", stage.Stage{}),
		one("operation on the zero stage", stage.Stage{}.Run("true")),
		one("from the zero stage", stage.From(stage.Stage{}, stage.As("app"))),
		one("copy from the zero stage", scratch().CopyFrom(stage.Stage{}, "/x", "/x")),
		one("bind mount of the zero stage", scratch().Run("true", stage.BindMount(stage.Stage{}, "/x", "/x"))),
		one("needs the zero stage", scratch().Needs(stage.Stage{})),
		one("empty reference", stage.From(" ", stage.As("app"))),
		one("reference scratch", stage.From("scratch", stage.As("app"))),
		{"image does not exist", with(image.Config{}), []stage.Stage{stage.From("alpin:3", stage.As("app"))}},
		{"image with the name of a stage", with(image.Config{}), []stage.Stage{stage.From("builder", stage.As("app")).CopyFrom(builder, "/out", "/")}},
		{"image to copy from does not exist", with(image.Config{}), []stage.Stage{scratch().CopyFrom(stage.Image("alpin:3"), "/x", "/x")}},
	}
}

func argMistakes() []mistake {
	level := arg.New("LEVEL", arg.OneOf("debug", "info"), arg.Default("info"))
	port := arg.New("PORT", arg.IntRange(1, 65535), arg.Default("80"))
	even := arg.New("EVEN", arg.Validate(func(v string) error {
		if len(v)%2 != 0 {
			return errors.New("want an even number of letters")
		}
		return nil
	}))
	return []mistake{
		one("required", scratch().Arg(arg.New("TOKEN", arg.Required(), arg.Doc("names the release"))).Env("T", "$TOKEN")),
		given("not one of", arg.Values{"LEVEL": "debgu"}, scratch().Arg(level).Env("L", "$LEVEL")),
		given("not a number", arg.Values{"PORT": "http"}, scratch().Arg(port).ExposeSpec("$PORT")),
		given("out of range", arg.Values{"PORT": "70000"}, scratch().Arg(port).ExposeSpec("$PORT")),
		given("not a bool", arg.Values{"RACE": "yes"}, scratch().Arg(arg.New("RACE", arg.Bool())).Env("R", "$RACE")),
		given("validator", arg.Values{"EVEN": "abc"}, scratch().Arg(even).Env("E", "$EVEN")),
		one("wrong default", scratch().Arg(arg.New("LEVEL", arg.OneOf("a", "b"), arg.Default("c"))).Env("E", "$LEVEL")),
		given("wrong value, used by a default", arg.Values{"PORT": "http"}, scratch().Arg(port, arg.New("ADDR", arg.Default(":$PORT"))).Env("A", "$ADDR")),
		one("wrong name", scratch().Arg(arg.New("MY-ARG"))),
		given("value for an argument that is not declared, near", arg.Values{"LEVLE": "info"}, scratch().Arg(level).Env("L", "$LEVEL")),
		given("value for an argument that is not declared, none near", arg.Values{"COLOUR": "red"}, scratch().Arg(level).Env("L", "$LEVEL")),
		given("value, and no declaration at all", arg.Values{"COLOUR": "red"}, scratch()),
		one("declared and not used", scratch().Arg(arg.New("UNUSED"))),
		one("no argument", scratch().Arg()),
		one("undefined variable", scratch().Env("A", "$NOWHERE")),
		one("undefined variable, near", scratch().Arg(level).Env("A", "$LEVEL$LEVLE")),
		one("argument without value", scratch().Arg(arg.New("MAYBE")).Workdir("/x/$MAYBE")),
		one("error form", scratch().Arg(arg.New("MAYBE")).Workdir("/x/${MAYBE:?say which}")),
		one("bad expansion", scratch().Workdir("/x/${A:1}")),
		one("open brace", scratch().User("${A")),
		one("stage arguments are not seen by FROM", stage.From("alpine:$VERSION", stage.As("app")).Arg(arg.New("VERSION", arg.Default("3"))).Env("V", "$VERSION")),
		one("FROM arguments are not seen by the stage", stage.From("alpine:$VERSION", stage.As("app"), stage.FromArgs(arg.New("VERSION", arg.Default("3")))).Env("V", "$PATH").CopyFrom(stage.Scratch().Env("A", "$VERSION"), "/", "/x")),
		one("platform argument without declaration", scratch().Env("A", "$TARGETARCH")),
	}
}

func configMistakes() []mistake {
	return []mistake{
		one("ENV name", scratch().Env("A=B", "c")),
		one("ENV empty name", scratch().Env("", "c")),
		one("ENV NUL", scratch().Env("A", "\x00")),
		one("LABEL empty key", scratch().Label("", "c")),
		one("USER empty", scratch().User("")),
		one("WORKDIR empty", scratch().Workdir("")),
		one("EXPOSE nothing", scratch().Expose()),
		one("EXPOSE 0", scratch().Expose(0)),
		one("EXPOSE 70000", scratch().Expose(70000)),
		one("EXPOSE udp 0", scratch().Expose(stage.UDP(0))),
		one("EXPOSE spec nothing", scratch().ExposeSpec("")),
		one("EXPOSE spec word", scratch().ExposeSpec("http")),
		one("EXPOSE spec too large", scratch().ExposeSpec("65536")),
		one("EXPOSE spec backwards", scratch().ExposeSpec("90-80")),
		one("EXPOSE spec protocol", scratch().ExposeSpec("80/icmp")),
		one("EXPOSE spec host port", scratch().ExposeSpec("8080:80")),
		one("VOLUME nothing", scratch().Volume()),
		one("VOLUME empty", scratch().Volume("/a", " ")),
		one("SHELL nothing", scratch().Shell()),
		one("STOPSIGNAL word", scratch().StopSignal("SIGTREM")),
		one("STOPSIGNAL number", scratch().StopSignal("65")),
		one("STOPSIGNAL empty", scratch().StopSignal("")),
		one("HEALTHCHECK nothing", scratch().Healthcheck(stage.Health{})),
		one("HEALTHCHECK both", scratch().Healthcheck(stage.Health{Exec: []string{"a"}, Shell: "b"})),
		one("HEALTHCHECK short", scratch().Healthcheck(stage.Health{Shell: "b", Timeout: time.Microsecond, Interval: -1})),
		one("HEALTHCHECK retries", scratch().Healthcheck(stage.Health{Shell: "b", Retries: -1})),
	}
}

func fileMistakes() []mistake {
	return []mistake{
		one("COPY two to a file", scratch().Copy(stage.Files("a", "b"), "/dest")),
		one("COPY nothing", scratch().Copy("", "/dest")),
		one("COPY absolute", scratch().Copy("/etc/passwd", "/dest")),
		one("COPY out of the context", scratch().Copy("a/../../x", "/dest")),
		one("COPY out of a directory", scratch().CopyFrom(stage.Dir("src"), "../x", "/dest")),
		one("COPY absolute of a file system", scratch().CopyFrom(stage.FS(fstest.MapFS{}), "/x", "/dest")),
		one("COPY NUL", scratch().CopyFrom(stage.Dir("src"), stage.Files("a\x00"), "/dest/")),
		one("COPY from nil", scratch().CopyFrom(nil, "x", "/dest")),
		one("COPY from a nil file system", scratch().CopyFrom(stage.FS(nil), "x", "/dest")),
		one("COPY from a directory without name", scratch().CopyFrom(stage.Dir(""), "x", "/dest")),
		one("COPY from an image without name", scratch().CopyFrom(stage.Image(""), "x", "/dest")),
		one("COPY mode", scratch().Copy("x", "/dest", stage.Chmod("0888"))),
		one("COPY links", scratch().Copy("x", "/dest", stage.WithLinks("drop"))),
		one("COPY links by Docker's rules", stage.Scratch(stage.Compatible(stage.DockerRules{})).Copy("x", "/dest", stage.WithLinks(stage.LinksKept))),
		one("COPY large mode", scratch().Copy("x", "/dest", stage.Chmod("17777"))),
		one("COPY owner", scratch().Copy("x", "/dest", stage.Chown("a:b:c"))),
		one("COPY owner without user", scratch().Copy("x", "/dest", stage.Chown(":b"))),
		one("COPY owner too large", scratch().Copy("x", "/dest", stage.Chown("2147483648"))),
		one("FILE on the root", scratch().File("/", "x")),
		one("FILE without path", scratch().File("", "x")),
		one("FILE mode", scratch().File("/x", "x", stage.Mode(0o17777))),
		one("FILE owner", scratch().File("/x", "x", stage.Owner("a:"))),
		one("MKDIR without path", scratch().Mkdir("")),
		one("MKDIR owner", scratch().Mkdir("/x", stage.Owner("0:99999999999"))),
		one("SYMLINK without target", scratch().Symlink("", "/x")),
		one("SYMLINK without path", scratch().Symlink("/x", "")),
		one("REMOVE the root", scratch().Remove("/")),
		one("REMOVE without path", scratch().Remove("")),
	}
}

func runMistakes() []mistake {
	run := func(o ...stage.RunOption) stage.Stage { return scratch().Run("true", o...) }
	return []mistake{
		one("RUN nothing", scratch().Run("")),
		one("RUN no argv", scratch().RunExec(nil)),
		one("RUN no script", scratch().Script("")),
		one("RUN NUL", scratch().RunExec([]string{"a", "b\x00"})),
		one("RUN network", run(stage.WithNetwork("bridge"))),
		one("RUN mount on the root", run(stage.CacheMount("/x/.."))),
		one("RUN mount without target", run(stage.CacheMount(""))),
		one("RUN sharing", run(stage.CacheMount("/x", stage.WithSharing("mine")))),
		one("RUN tmpfs size", run(stage.TmpfsMount("/x", -1))),
		one("RUN secret without id", run(stage.SecretMount(""))),
		one("RUN mount mode", run(stage.CacheMount("/x", stage.MountMode(0o17777)))),
		one("RUN bind leaves the context", run(stage.BindMount(stage.Context(), "../x", "/x"))),
		one("RUN bind of nothing", run(stage.BindMount(nil, "x", "/x"))),
		one("RUN bind of a nil file system", run(stage.BindMount(stage.FS(nil), "x", "/x"))),
		one("RUN undefined variable in a mount", run(stage.CacheMount("/x/$NOWHERE"))),
	}
}

// TestPositions says that every mistake of every stage is reported at once, each
// at the line that made it.
func TestPositions(t *testing.T) {
	first := stage.Scratch(stage.As("first")).
		Env("A", "$X").
		Mkdir("/ok").
		User("")
	second := stage.Scratch().
		CopyFrom(first, "/ok", "/").
		StopSignal("nine").
		Needs(stage.Scratch().Copy("../x", "/"))
	errs := mistakes(t, stage.Options{Args: arg.Values{"Y": "1"}}, second)
	var lines []int
	base := errs[0].Pos.Line
	for _, e := range errs[:len(errs)-1] {
		if !strings.HasSuffix(e.Pos.File, "/errors_test.go") {
			t.Errorf("%v is at %s", e, e.Pos.File)
		}
		lines = append(lines, e.Pos.Line-base)
	}
	if got, want := fmt.Sprint(lines), "[0 2 5 6]"; got != want {
		t.Errorf("the mistakes are at lines %s behind the first, want %s:\n%v", got, want, errs)
	}
	if pos := errs[len(errs)-1].Pos; pos != (stage.Position{}) || pos.String() != "?" {
		t.Errorf("a value given for nothing is at %v, want nowhere", pos)
	}
	if !strings.HasPrefix(errs[0].Error(), fmt.Sprintf("errors_test.go:%d: stage first: ENV: ", base)) {
		t.Errorf("message %q", errs[0])
	}
}

func TestErrorTypes(t *testing.T) {
	_, err := stage.Compile(t.Context(), []stage.Stage{
		scratch().Arg(arg.New("TOKEN", arg.Required())).Env("A", "$TOKEN"),
		stage.Scratch(stage.As("b")).Env("A", "$NAME"),
		stage.From(stage.Named("zzz")),
		stage.Scratch(stage.As("c")).Arg(arg.New("N", arg.Int())).Env("N", "$N"),
	}, fixed(stage.Options{Args: arg.Values{"N": "x"}}))
	var required *stage.RequiredError
	if !errors.As(err, &required) || required.Name != "TOKEN" {
		t.Errorf("no RequiredError in %v", err)
	}
	var undefined *stage.UndefinedError
	if !errors.As(err, &undefined) || undefined.Name != "NAME" {
		t.Errorf("no UndefinedError in %v", err)
	}
	var value *arg.ValueError
	if !errors.As(err, &value) || value.Value != "x" {
		t.Errorf("no ValueError in %v", err)
	}
	if !errors.Is(err, stage.ErrUnknownStage) {
		t.Errorf("no ErrUnknownStage in %v", err)
	}
	loop := stage.Scratch(stage.As("loop")).CopyFrom(stage.Named("loop"), "/x", "/x")
	if err := mistakes(t, stage.Options{}, loop); !errors.Is(err, stage.ErrCycle) {
		t.Errorf("no ErrCycle in %v", err)
	}
}

func TestNoTarget(t *testing.T) {
	if g, err := stage.Compile(t.Context(), nil, stage.Options{}); err == nil || g != nil {
		t.Errorf("Compile of nothing: %v, %v", g, err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := stage.Compile(ctx, []stage.Stage{scratch().User("")}, stage.Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}
