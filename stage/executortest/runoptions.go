package executortest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/stagewright/stagewright/stage"
)

// runOptionCases are about what a step can ask for beside its command. An executor
// that cannot do one of them says so with stage.ErrUnsupported, before anything runs;
// none is ignored.
var runOptionCases = []suiteCase{
	{"RunAllowExit", testRunAllowExit},
	{"RunStdin", testRunStdin},
	{"RunCapture", testRunCapture},
	{"RunTimeout", testRunTimeout},
	{"RunRetry", testRunRetry},
	{"RunHosts", testRunHosts},
	{"RunScriptPath", testRunScriptPath},
}

// runOptionCacheCases are about executing such steps again.
var runOptionCacheCases = []suiteCase{
	{"RunCaptureHits", testRunCaptureHits},
	{"RunOptionsInKey", testRunOptionsInKey},
	{"RunOptionsNotInKey", testRunOptionsNotInKey},
}

// supported executes a graph. It skips the rest of the case where the executor cannot do
// what the graph asks for.
func (f *fixture) supported(g *stage.Graph, r stage.Request) (stage.Result, error) {
	f.Helper()
	res, err := f.executor().Execute(f.Context(), g, r)
	if errors.Is(err, stage.ErrUnsupported) {
		f.Skip(err)
	}
	if err == nil {
		f.Cleanup(func() {
			if err := res.Close(); err != nil {
				f.Errorf("Close: %v", err)
			}
		})
	}
	return res, err
}

func testRunAllowExit(f *fixture) {
	s := f.base().Run("write /left x then exit 3", stage.AllowExit(2, 3))
	res, err := f.supported(f.compile(s), stage.Request{})
	if err != nil {
		f.Fatal(err)
	}
	list, err := imageListing(res.Outputs()[0].Image)
	if err != nil || !slices.Contains(list, `f 0644 0:0 left "x"`) {
		f.Errorf("what the step left is not in the image: %q, %v", list, err)
	}
	err = f.fails(f.base().Run("exit 4", stage.AllowExit(2, 3)), stage.Request{})
	if exit, ok := errors.AsType[*stage.ExitError](err); !ok || exit.Code != 4 {
		f.Errorf("exit code 4: %v, want a *stage.ExitError", err)
	}
}

func testRunStdin(f *fixture) {
	g := f.compile(f.base().Run("cat", stage.Stdin("the input\nof two lines")).Run("cat"))
	e := &events{}
	if _, err := f.supported(g, stage.Request{Progress: e.add}); err != nil {
		f.Fatal(err)
	}
	last := g.Steps()[g.Targets()[0].Step]
	if got := e.output(g.Steps()[last.Parent], stage.Stdout); got != "the input\nof two lines" {
		f.Errorf("the step read %q", got)
	}
	if got := e.output(last, stage.Stdout); got != "" {
		f.Errorf("a step without input read %q", got)
	}
}

// captures is a step with an output that is looked for.
func (f *fixture) captures() stage.Stage {
	f.Helper()
	return f.base().Run("say one then warn two then exit 5", stage.AllowExit(5), stage.Capture())
}

func (f *fixture) wantCaptured(res stage.Result, step int) {
	f.Helper()
	if _, ok := res.(stage.OutputKeeper); !ok {
		f.Skipf("%T keeps no output", res)
	}
	out, err := stage.OutputOf(res, step)
	if err != nil || string(out.Stdout) != "one\n" || string(out.Stderr) != "two" || out.ExitCode != 5 {
		f.Errorf("captured %q, %q, exit code %d, %v", out.Stdout, out.Stderr, out.ExitCode, err)
	}
}

func testRunCapture(f *fixture) {
	g := f.compile(f.captures().Run("say not captured"))
	res, err := f.supported(g, stage.Request{})
	if err != nil {
		f.Fatal(err)
	}
	last := g.Steps()[g.Targets()[0].Step]
	f.wantCaptured(res, last.Parent)
	if _, err := stage.OutputOf(res, last.ID); !errors.Is(err, stage.ErrUnsupported) {
		f.Errorf("the output of a step that captures nothing: %v, want stage.ErrUnsupported", err)
	}
	for _, step := range []int{-1, len(g.Steps())} {
		if _, err := stage.OutputOf(res, step); !errors.Is(err, stage.ErrUnknownStage) {
			f.Errorf("the output of step %d: %v, want stage.ErrUnknownStage", step, err)
		}
	}
}

func testRunTimeout(f *fixture) {
	base := f.base()
	at, s := line(), base.Run("say begun then wait", stage.Timeout(500*time.Millisecond))
	_, err := f.supported(f.compile(s), stage.Request{})
	f.blames(err, at)
	if !errors.Is(err, stage.ErrTimeout) {
		f.Errorf("got %v, want stage.ErrTimeout", err)
	}
	f.build(base.Run("true", stage.Timeout(time.Hour)), stage.Request{})
}

// testRunRetry fails until a cache mount remembers two attempts; the stage's own files
// must be those of the last one alone.
func testRunRetry(f *fixture) {
	g := f.compile(f.base().Run("attempt /c/n 3 then read /c/n", stage.CacheMount("/c"), stage.Retry(5)))
	e := &events{}
	if _, err := f.supported(g, stage.Request{Progress: e.add}); err != nil {
		f.Fatal(err)
	}
	e.check(f, g)
	if got := e.output(g.Steps()[g.Targets()[0].Step], stage.Stdout); !strings.HasSuffix(got, "xxx") {
		f.Errorf("after three attempts the mount has %q", got)
	}
	f.wantAdded(f.base().Run("attempt /d/n 2 then write /kept x", stage.CacheMount("/d"), stage.Retry(1)), stage.Request{}, `f 0644 0:0 kept "x"`)
	err := f.fails(f.base().Run("exit 6", stage.Retry(1)), stage.Request{})
	if exit, ok := errors.AsType[*stage.ExitError](err); !ok || exit.Code != 6 {
		f.Errorf("two attempts that fail: %v, want a *stage.ExitError", err)
	}
}

func testRunHosts(f *fixture) {
	g := f.compile(f.base().Run("read /etc/hosts", stage.ExtraHost("db.test", "192.0.2.7")))
	e := &events{}
	if _, err := f.supported(g, stage.Request{Progress: e.add}); err != nil {
		f.Fatal(err)
	}
	if got := e.output(g.Steps()[g.Targets()[0].Step], stage.Stdout); !slices.ContainsFunc(strings.Split(got, "\n"), func(l string) bool {
		return slices.Equal(strings.Fields(l), []string{"192.0.2.7", "db.test"})
	}) {
		f.Errorf("/etc/hosts has %q", got)
	}
}

func testRunScriptPath(f *fixture) {
	g := f.compile(f.base().Script("#!"+prober+" read\n", stage.ScriptPath("/dev/pipes/EOF")))
	e := &events{}
	if _, err := f.supported(g, stage.Request{Progress: e.add}); err != nil {
		f.Fatal(err)
	}
	if got := e.output(g.Steps()[g.Targets()[0].Step], stage.Stdout); got != "#!"+prober+" read\n" {
		f.Errorf("the script's interpreter read %q", got)
	}
}

// testRunCaptureHits wants a step that is not run again to have the output of its run.
func testRunCaptureHits(f *fixture) {
	g := f.compile(f.captures())
	for range 2 {
		res, err := f.supported(g, stage.Request{})
		if err != nil {
			f.Fatal(err)
		}
		f.wantCaptured(res, g.Targets()[0].Step)
	}
	if n := f.ranRun(f.captures()); n != 0 {
		f.Errorf("%d Run steps ran again", n)
	}
}

// testRunOptionsInKey changes, one after the other, what a step's result depends on.
func testRunOptionsInKey(f *fixture) {
	base := f.base()
	for _, s := range []stage.Stage{
		base.Run("cat then write /x 1"),
		base.Run("cat then write /x 1", stage.Stdin("a")),
		base.Run("cat then write /x 1", stage.Stdin("b")),
		base.Run("cat then write /x 1", stage.Capture()),
		base.Run("cat then write /x 1", stage.ExtraHost("a", "192.0.2.1")),
		base.Run("cat then write /x 1", stage.ExtraHost("b", "192.0.2.1")),
	} {
		if n := f.ranRun(s); n != 1 {
			f.Errorf("a step that sees something new: %d Run steps ran, want 1: %s", n, lastText(f.compile(s)))
		}
	}
	if _, err := f.supported(f.compile(base.Run("exit 3", stage.AllowExit(3))), stage.Request{}); err != nil {
		f.Fatal(err)
	}
	f.fails(base.Run("exit 3"), stage.Request{})
}

// testRunOptionsNotInKey changes what no result depends on.
func testRunOptionsNotInKey(f *fixture) {
	base := f.base()
	step := func(o ...stage.RunOption) stage.Stage {
		return base.Run("write /x 1", append(o, stage.ExtraHost("a", "192.0.2.1"))...)
	}
	if _, err := f.supported(f.compile(step()), stage.Request{}); err != nil {
		f.Fatal(err)
	}
	for name, s := range map[string]stage.Stage{
		"a timeout":       step(stage.Timeout(time.Hour)),
		"retries":         step(stage.Retry(3)),
		"another address": base.Run("write /x 1", stage.ExtraHost("a", "192.0.2.2")),
	} {
		if n := f.ranRun(s); n != 0 {
			f.Errorf("%s: %d Run steps ran again", name, n)
		}
	}
}
