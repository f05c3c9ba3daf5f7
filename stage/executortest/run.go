package executortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// runCases are about steps that run programs.
var runCases = []suiteCase{
	{"RunWrites", testRunWrites},
	{"RunSees", testRunSees},
	{"RunOutput", testRunOutput},
	{"RunFails", testRunFails},
	{"RunCanceled", testRunCanceled},
	{"RunConcurrent", testRunConcurrent},
	{"RunMounts", testRunMounts},
	{"RunSecretMissing", testRunSecretMissing},
	{"RunNeeds", testRunNeeds},
	{"RunProcess", testRunProcess},
}

// runCacheCases are about executing them again.
var runCacheCases = []suiteCase{
	{"RunHits", testRunHits},
	{"RunContentHits", testRunContentHits},
	{"RunMisses", testRunMisses},
}

// added are the lines of the listing of a stage's image that its base has not.
func (f *fixture) added(s stage.Stage, r stage.Request) []string {
	f.Helper()
	_, res := f.build(s, r)
	list, err := imageListing(res.Outputs()[0].Image)
	if err != nil {
		f.Fatal(err)
	}
	_, res = f.build(f.program(), stage.Request{})
	before, err := imageListing(res.Outputs()[0].Image)
	if err != nil {
		f.Fatal(err)
	}
	return slices.DeleteFunc(list, func(line string) bool { return slices.Contains(before, line) })
}

func (f *fixture) wantAdded(s stage.Stage, r stage.Request, want ...string) {
	f.Helper()
	if diff := cmp.Diff(want, f.added(s, r)); diff != "" {
		f.Errorf("what the stage has beside its base (-want +got):\n%s", diff)
	}
}

func testRunWrites(f *fixture) {
	s := f.base().
		File("/etc/old", "old").
		File("/gone", "x").
		Run("write /etc/old new then write /made/here file then remove /gone").
		Run("true")
	f.wantAdded(s, stage.Request{},
		`d 0755 0:0 etc`,
		`f 0644 0:0 etc/old "new"`,
		`d 0755 0:0 made`,
		`f 0644 0:0 made/here "file"`,
	)
	g, res := f.build(s, stage.Request{})
	fsys, err := res.Files(g.Targets()[0].Step)
	if err != nil {
		f.Fatal(err)
	}
	list, err := fsListing(fsys)
	if err != nil || !slices.Contains(list, `f 0644 made/here "file"`) {
		f.Errorf("Files after the run: %q, %v", list, err)
	}
}

// testRunSees checks the environment, the working directory and the command line
// of a process.
func testRunSees(f *fixture) {
	s := f.base().
		Env("NAME", "from env").
		Arg(arg.New("VERSION", arg.Default("1.2"))).
		Workdir("/work").
		Run("env NAME then env VERSION then pwd then say ${NAME}").
		RunExec([]string{prober, "say", "${NAME}", "*"})
	e := &events{}
	g, _ := f.build(s, stage.Request{Progress: e.add})
	last := g.Steps()[g.Targets()[0].Step]
	first := g.Steps()[last.Parent]
	if got, want := e.output(first, stage.Stdout), "from env\n1.2\n/work\nfrom env\n"; got != want {
		f.Errorf("the shell form says %q, want %q", got, want)
	}
	if got, want := e.output(last, stage.Stdout), "${NAME} *\n"; got != want {
		f.Errorf("the exec form says %q, want %q", got, want)
	}
	if c := f.file(f.execute(f.executor(), g, stage.Request{})).Config; slices.ContainsFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, "VERSION=") }) {
		f.Errorf("the argument is in the environment of the image: %q", c.Env)
	}
}

func testRunOutput(f *fixture) {
	const lines = 20_000
	s := f.base().Run(fmt.Sprintf("warn no line end then many %d then say bye", lines))
	g := f.compile(s)
	e := &events{}
	f.execute(f.executor(), g, stage.Request{Progress: e.add})
	e.check(f, g)
	step := g.Steps()[g.Targets()[0].Step]
	if got := e.output(step, stage.Stderr); got != "no line end" {
		f.Errorf("standard error %q", got)
	}
	out := e.output(step, stage.Stdout)
	if strings.Count(out, "\n") != lines+1 || !strings.HasPrefix(out, "line 0\nline 1\n") || !strings.HasSuffix(out, fmt.Sprintf("line %d\nbye\n", lines-1)) {
		f.Errorf("standard output has %d lines in %d bytes, want %d lines", strings.Count(out, "\n"), len(out), lines+1)
	}
}

func testRunFails(f *fixture) {
	base := f.base()
	at, s := line(), base.Run("say before then warn it broke then exit 3").File("/never", "x")
	g := f.compile(s)
	e := &events{}
	_, err := f.executor().Execute(f.Context(), g, stage.Request{Progress: e.add})
	f.blames(err, at, "it broke")
	var exit *stage.ExitError
	if !errors.As(err, &exit) {
		f.Fatalf("got %v, want a *stage.ExitError", err)
	}
	if exit.Code != 3 || exit.Signal != "" || !strings.Contains(exit.Tail, "before") || !strings.Contains(exit.Tail, "it broke") {
		f.Errorf("got %+v", exit)
	}
	if want := []string{prober, "-c", "say before then warn it broke then exit 3"}; !slices.Equal(exit.Argv, want) {
		f.Errorf("argv is %q, want %q", exit.Argv, want)
	}
	e.check(f, g)

	at, s = line(), base.RunExec([]string{"/no/such/program"})
	f.blames(f.fails(s, stage.Request{}), at, "/no/such/program")
}

// testRunCanceled cancels a build while a process runs.
func testRunCanceled(f *fixture) {
	g := f.compile(f.base().Run("say ready then wait").File("/after", "x"))
	ctx, cancel := context.WithCancel(f.Context())
	defer cancel()
	e := &events{hook: func(ev stage.Event) {
		if _, ok := ev.(stage.StepOutput); ok {
			cancel()
		}
	}}
	_, err := f.executor().Execute(ctx, g, stage.Request{Progress: e.add})
	if !errors.Is(err, context.Canceled) {
		f.Errorf("got %v, want context.Canceled", err)
	}
	e.check(f, g)
}

func testRunConcurrent(f *fixture) {
	g := f.compile(f.base().Run("write /a 1").Run("write /b 2"))
	digests := make([]string, 4)
	errs := make([]error, len(digests))
	var wg sync.WaitGroup
	for i := range digests {
		wg.Go(func() {
			res, err := f.first.Execute(f.Context(), g, stage.Request{})
			if err != nil {
				errs[i] = err
				return
			}
			d, err := res.Outputs()[0].Image.Digest()
			digests[i], errs[i] = d.String(), errors.Join(err, res.Close())
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		f.Fatal(err)
	}
	if slices.Max(digests) != slices.Min(digests) {
		f.Errorf("the digests differ: %q", digests)
	}
}

// testRunMounts wants every mount to be there for the process, and nothing of it
// in the image.
func testRunMounts(f *fixture) {
	source := stage.Scratch(stage.As("source")).File("/dir/file", "bound")
	s := f.base().
		Run("write /var/cache/x 1 then write /ram/y 2 then read /bound/file then read /run/secrets/token then env TOKEN then write /kept z",
			stage.CacheMount("/var/cache"),
			stage.TmpfsMount("/ram", 1<<20),
			stage.BindMount(source, "/dir", "/bound"),
			stage.SecretMount("token"),
			stage.SecretEnv("token", "TOKEN")).
		Run("read /again/x", stage.CacheMount("/again", stage.ID("/var/cache")))
	secrets := map[string]stage.Secret{"token": stage.SecretValue("s3cr3t")}
	e := &events{}
	f.wantAdded(s, stage.Request{Secrets: secrets, Progress: e.add}, `f 0644 0:0 kept "z"`)
	var out strings.Builder
	for _, ev := range e.list {
		if o, ok := ev.(stage.StepOutput); ok {
			out.Write(o.Data)
		}
	}
	if want := "bounds3cr3ts3cr3t\n1"; out.String() != want {
		f.Errorf("the mounts gave %q, want %q", out.String(), want)
	}
	_, res := f.build(s, stage.Request{Secrets: secrets})
	raw, err := res.Outputs()[0].Image.RawConfigFile()
	if err != nil || bytes.Contains(raw, []byte("s3cr3t")) {
		f.Errorf("the configuration has the secret, or %v", err)
	}
}

func testRunSecretMissing(f *fixture) {
	base := f.base()
	at, s := line(), base.Run("true", stage.SecretMount("token"))
	f.blames(f.fails(s, stage.Request{}), at, "token")
	f.build(base.Run("true", stage.SecretMount("token", stage.OptionalSecret())), stage.Request{})
}

func testRunNeeds(f *fixture) {
	base := f.base()
	at, tests := line(), stage.From(base, stage.As("tests")).Run("exit 1")
	f.blames(f.fails(stage.Scratch().File("/app", "x").Needs(tests), stage.Request{}), at)
}

// testRunProcess runs programs on top of a finished stage, where the result can.
func testRunProcess(f *fixture) {
	g, res := f.build(f.base().Workdir("/srv").File("page", "hello").Env("NAME", "image").Entrypoint(prober, "read", "page", "then").Cmd("env", "NAME"), stage.Request{})
	step := g.Targets()[0].Step
	if _, ok := res.(stage.ProcessRunner); !ok {
		if err := stage.RunProcess(f.Context(), res, step, stage.Process{}); !errors.Is(err, stage.ErrUnsupported) {
			f.Errorf("RunProcess: %v, want stage.ErrUnsupported", err)
		}
		return
	}
	run := func(p stage.Process) (string, error) {
		var out bytes.Buffer
		p.Stdout = &out
		err := stage.RunProcess(f.Context(), res, step, p)
		return out.String(), err
	}
	if out, err := run(stage.Process{}); err != nil || out != "helloimage\n" {
		f.Errorf("the image's own command: %q, %v", out, err)
	}
	if out, err := run(stage.Process{Env: []string{"NAME=mine"}}); err != nil || out != "hellomine\n" {
		f.Errorf("with another environment: %q, %v", out, err)
	}
	if out, err := run(stage.Process{Argv: []string{prober, "write", "/srv/page", "changed", "then", "cat"}, Stdin: strings.NewReader("input")}); err != nil || out != "input" {
		f.Errorf("with an input: %q, %v", out, err)
	}
	if out, err := run(stage.Process{}); err != nil || out != "helloimage\n" {
		f.Errorf("after another process wrote: %q, %v", out, err)
	}
	_, err := run(stage.Process{Argv: []string{prober, "exit", "7"}})
	if exit, ok := errors.AsType[*stage.ExitError](err); !ok || exit.Code != 7 {
		f.Errorf("exit 7: %v", err)
	}
	if err := stage.RunProcess(f.Context(), res, len(g.Steps()), stage.Process{}); !errors.Is(err, stage.ErrUnknownStage) {
		f.Errorf("RunProcess on no step: %v, want stage.ErrUnknownStage", err)
	}
}

func testRunHits(f *fixture) {
	s := f.base().Run("say once then write /x 1")
	g, first := f.build(s, stage.Request{})
	e := &events{}
	second := f.execute(f.executor(), g, stage.Request{Progress: e.add})
	if n := second.Report().Ran(); n != 0 {
		f.Errorf("the second build ran %d steps", n)
	}
	for _, ev := range e.list {
		if _, ok := ev.(stage.StepOutput); ok {
			f.Error("a step that was found in the cache wrote output")
		}
	}
	if a, b := f.digest(first), f.digest(second); a != b {
		f.Errorf("digest %s, the first had %s", b, a)
	}
}

// ranRun is how many Run steps a build ran.
func (f *fixture) ranRun(s stage.Stage) int {
	f.Helper()
	g := f.compile(s)
	res, err := f.supported(g, stage.Request{})
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	for _, r := range res.Report().Steps {
		if _, ok := g.Steps()[r.Step].Op.(*stage.RunOp); ok && r.Status == stage.Ran {
			n++
		}
	}
	return n
}

// testRunContentHits changes what a step stands on without changing its files.
func testRunContentHits(f *fixture) {
	base := f.base()
	if n := f.ranRun(base.File("/in", "same").Run("write /out 1")); n != 1 {
		f.Errorf("the first build ran %d Run steps, want 1", n)
	}
	if n := f.ranRun(base.File("/in", "other").File("/in", "same").Run("write /out 1")); n != 0 {
		f.Errorf("the same files made in another way: %d Run steps ran, want 0", n)
	}
}

// testRunMisses changes, one after the other, what a step can see.
func testRunMisses(f *fixture) {
	base := f.base()
	for _, s := range []stage.Stage{
		base.Run("write /out 1"),
		base.Run("write /out 2"),
		base.Env("X", "y").Run("write /out 1"),
		base.Workdir("/w").Run("write /out 1"),
		base.File("/in", "a").Run("write /out 1"),
		base.File("/in", "b").Run("write /out 1"),
		base.File("/in", "b", stage.Mode(0o600)).Run("write /out 1"),
		base.Run("write /out 1", stage.WithNetwork(stage.NetworkNone)),
		base.Run("write /out 1", stage.BindMount(stage.Scratch().File("/f", "x"), "/", "/bound")),
		base.Run("write /out 1", stage.BindMount(stage.Scratch().File("/f", "y"), "/", "/bound")),
	} {
		if n := f.ranRun(s); n != 1 {
			f.Errorf("a step that sees something new: %d Run steps ran, want 1: %s", n, lastText(f.compile(s)))
		}
	}
}

func lastText(g *stage.Graph) string { return g.Steps()[g.Targets()[0].Step].Text }
