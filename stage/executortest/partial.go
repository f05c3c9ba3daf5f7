package executortest

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// partialCases are about builds for several platforms of which some fail.
var partialCases = []suiteCase{
	{"AllOrNothing", testAllOrNothing},
	{"Partial", testPartial},
	{"PartialNothingBuilt", testPartialNothingBuilt},
	{"PartialWhole", testPartialWhole},
	{"PinnedOnce", testPinnedOnce},
}

var targetArch = arg.New("TARGETARCH")

var threePlatforms = platform.MustParseSet("linux/arm64,linux/amd64,linux/riscv64")

// brokenStages are stages that cannot be built for linux/arm64: what is missing there is
// found out before anything runs, and later.
func brokenStages() map[string]stage.Stage {
	files := fstest.MapFS{"app-amd64": {Data: []byte("amd64")}, "app-riscv64": {Data: []byte("riscv64")}}
	tools := stage.Scratch(stage.As("tools"), stage.OnBuildPlatform()).File("/app-amd64", "amd64").File("/app-riscv64", "riscv64")
	app := stage.Scratch(stage.As("app")).Arg(targetArch)
	return map[string]stage.Stage{
		"a missing file of the context":    app.Copy("app-${TARGETARCH}", "/app"),
		"a missing file of a file system":  app.CopyFrom(stage.FS(files), "app-${TARGETARCH}", "/app"),
		"a missing file of a shared stage": app.CopyFrom(tools, "/app-${TARGETARCH}", "/app"),
	}
}

func (f *fixture) brokenContext() stage.Source {
	return stage.FS(fstest.MapFS{"app-amd64": {Data: []byte("amd64")}, "app-riscv64": {Data: []byte("riscv64")}})
}

// testAllOrNothing wants a build to fail when one platform does.
func testAllOrNothing(f *fixture) {
	for name, s := range brokenStages() {
		res, err := f.executor().Execute(f.Context(), f.compileFor(threePlatforms, s), stage.Request{Context: f.brokenContext()})
		if err == nil {
			res.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "app-arm64") {
			f.Errorf("%s: error %v, want that of the missing file", name, err)
		}
	}
}

// testPartial wants the images of the other platforms, in order, and to be told of the one
// that failed.
func testPartial(f *fixture) {
	if _, whole := f.build(described(), stage.Request{}); !knowsPartial(whole) {
		f.Skip("the executor builds all targets or none: its results have no method Failed")
	}
	for name, s := range brokenStages() {
		g := f.compileFor(threePlatforms, s)
		e := &events{}
		res := f.execute(f.executor(), g, stage.Request{Context: f.brokenContext(), Partial: true, Progress: e.add})
		e.check(f, g)
		failed := stage.FailedOf(res)
		if len(failed) != 1 || failed[0].Target != g.Targets()[0] || failed[0].Platform.String() != "linux/arm64" {
			f.Fatalf("%s: failed are %v, want linux/arm64", name, failed)
		}
		var blamed *stage.Error
		if err := failed[0].Err; !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &blamed) || !strings.Contains(err.Error(), "app-arm64") {
			f.Errorf("%s: the error of linux/arm64 is %v, want one that blames the step and names the missing file", name, err)
		}
		if _, err := res.Files(failed[0].Target.Step); !errors.Is(err, stage.ErrUnknownStage) {
			f.Errorf("%s: files of the target that failed: error %v, want stage.ErrUnknownStage", name, err)
		}
		outputs := res.Outputs()
		if len(outputs) != 2 {
			f.Fatalf("%s: %d outputs, want 2", name, len(outputs))
		}
		for i, o := range outputs {
			if want := g.Targets()[i+1]; o.Target != want || o.Platform != want.Platform {
				f.Errorf("%s: output %d is for %s, want %s", name, i, o.Platform, want.Platform)
			}
			files, err := res.Files(o.Target.Step)
			if err != nil {
				f.Fatal(err)
			}
			if got, err := fs.ReadFile(files, "app"); err != nil || string(got) != o.Platform.Architecture {
				f.Errorf("%s: /app of %s is %q, %v", name, o.Platform, got, err)
			}
		}
		for _, step := range res.Report().Steps {
			if step.Step == failed[0].Target.Step && step.Status != stage.Failed {
				f.Errorf("%s: the report has the step that failed as %q", name, step.Status)
			}
		}
	}
}

func knowsPartial(res stage.Result) bool {
	_, ok := res.(stage.PartialResult)
	return ok
}

// testPartialNothingBuilt wants an error when every platform fails, and what they share told
// once.
func testPartialNothingBuilt(f *fixture) {
	request := stage.Request{Context: f.brokenContext(), Partial: true}
	shared := stage.Scratch(stage.As("shared"), stage.OnBuildPlatform()).Remove("/not-there")
	for name, s := range map[string]stage.Stage{
		"before anything runs": stage.Scratch().Copy("missing-file", "/"),
		"a shared stage":       stage.Scratch().CopyFrom(shared, "/not-there", "/"),
		"each by itself":       stage.Scratch().Arg(targetArch).File("/x", "x").Remove("/missing-${TARGETARCH}"),
	} {
		res, err := f.executor().Execute(f.Context(), f.compileFor(threePlatforms, s), request)
		if err == nil {
			res.Close()
			f.Errorf("%s: no error, although nothing was built", name)
			continue
		}
		var blamed *stage.Error
		if !errors.As(err, &blamed) {
			f.Errorf("%s: error %v, want a *stage.Error", name, err)
			continue
		}
		if n := strings.Count(err.Error(), "not-there"); name == "a shared stage" && n != strings.Count(blamed.Error(), "not-there") {
			f.Errorf("%s: the reason is there more than once: %v", name, err)
		}
	}
}

// testPartialWhole wants nothing to be different when nothing fails.
func testPartialWhole(f *fixture) {
	g := f.compileFor(threePlatforms, described())
	var digests [2][]string
	for i, partial := range []bool{false, true} {
		res := f.execute(f.executor(), g, stage.Request{Partial: partial})
		if failed := stage.FailedOf(res); len(failed) != 0 {
			f.Errorf("Partial %v: failed are %v, want none", partial, failed)
		}
		for _, o := range res.Outputs() {
			d, err := o.Image.Digest()
			if err != nil {
				f.Fatal(err)
			}
			digests[i] = append(digests[i], d.String())
		}
	}
	if len(digests[0]) != len(threePlatforms) || !slices.Equal(digests[0], digests[1]) {
		f.Errorf("images %v, and with Partial %v", digests[0], digests[1])
	}
}

// testPinnedOnce wants the steps of a stage on the build platform done once for all
// platforms.
func testPinnedOnce(f *fixture) {
	tool := stage.Scratch(stage.As("tool"), stage.OnBuildPlatform()).File("/a", "1").File("/b", "2")
	app := stage.Scratch(stage.As("app")).Arg(targetArch).CopyFrom(tool, "/b", "/app").File("/arch-${TARGETARCH}", "x")
	g := f.compileFor(threePlatforms, app)
	e := &events{}
	f.execute(f.executor(), g, stage.Request{Progress: e.add})
	e.check(f, g)
	ended := map[string]int{}
	for _, ev := range e.list {
		if end, ok := ev.(stage.StepFinished); ok {
			ended[end.Step.Stage]++
		}
	}
	if ended["tool"] != 2 || ended["app"] != 2*len(threePlatforms) {
		f.Errorf("%d steps of the tools' stage ended and %d of the images', want 2 and %d", ended["tool"], ended["app"], 2*len(threePlatforms))
	}
}
