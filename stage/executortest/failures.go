package executortest

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"testing/fstest"

	"github.com/stagewright/stagewright/stage"
)

// failureCases are about builds that cannot succeed.
var failureCases = []suiteCase{
	{"MissingFile", testMissingFile},
	{"FailedStep", testFailedStep},
	{"NoContext", testNoContext},
	{"Needs", testNeeds},
	{"Canceled", testCanceled},
	{"Deferred", testDeferred},
	{"AfterFailure", testAfterFailure},
}

// line is the source line of its caller.
func line() int {
	_, _, line, _ := runtime.Caller(1)
	return line
}

// blames wants an error about a step that was written at the line of this
// package, and that names the words.
func (f *fixture) blames(err error, at int, words ...string) {
	f.Helper()
	var e *stage.Error
	if !errors.As(err, &e) {
		f.Errorf("got %T %q, want an error that wraps a *stage.Error", err, err)
		return
	}
	if !strings.HasPrefix(filepath.Base(e.Pos.File), "failures.go") && !strings.HasPrefix(filepath.Base(e.Pos.File), "run") || e.Pos.Line != at {
		f.Errorf("the error blames %s, want line %d: %v", e.Pos, at, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			f.Errorf("the error does not name %q: %v", word, err)
		}
	}
}

func testMissingFile(f *fixture) {
	ctx := stage.Request{Context: stage.Dir(f.tree())}
	builder := stage.Scratch(stage.As("builder")).File("/there", "x")

	at, s := line(), stage.Scratch().Copy("missing.go", "/")
	err := f.fails(s, ctx)
	f.blames(err, at, "missing.go")
	if !errors.Is(err, fs.ErrNotExist) {
		f.Errorf("a missing file is not fs.ErrNotExist: %v", err)
	}
	at, s = line(), stage.Scratch().Copy("secret/key", "/") // hidden by the ignore file
	f.blames(f.fails(s, ctx), at, "secret/key")
	at, s = line(), stage.Scratch().Copy("*.none", "/")
	f.blames(f.fails(s, ctx), at, "*.none")
	at, s = line(), stage.Scratch().CopyFrom(stage.FS(fstest.MapFS{}), "no/file", "/")
	f.blames(f.fails(s, stage.Request{}), at, "no/file")
	at, s = line(), stage.Scratch().CopyFrom(builder, "/gone", "/")
	f.blames(f.fails(s, stage.Request{}), at, "gone")
	s = stage.Scratch().CopyFrom(stage.Dir(filepath.Join(f.TempDir(), "no-dir")), ".", "/")
	if err := f.fails(s, stage.Request{}); !strings.Contains(err.Error(), "no-dir") {
		f.Errorf("the error does not name the directory: %v", err)
	}
}

func testFailedStep(f *fixture) {
	at, s := line(), stage.Scratch().Remove("/not/there")
	f.blames(f.fails(s, stage.Request{}), at, "/not/there")
	at, s = line(), stage.Scratch().Mkdir("/dir").File("/dir", "x")
	f.blames(f.fails(s, stage.Request{}), at, "/dir")
	at, s = line(), stage.Scratch().File("/file", "x").File("/file/below", "y")
	f.blames(f.fails(s, stage.Request{}), at, "/file")
}

func testNoContext(f *fixture) {
	err := f.fails(stage.Scratch().Copy(".", "/"), stage.Request{})
	if !strings.Contains(err.Error(), "context") {
		f.Errorf("the error does not tell that there is no context: %v", err)
	}
}

// testNeeds wants a stage that is needed to be built, to fail the build when it
// fails, and to leave no trace in the image.
func testNeeds(f *fixture) {
	gate := stage.Scratch(stage.As("gate")).File("/tested", "yes")
	plain := stage.Scratch(stage.As("app")).File("/app", "1")
	f.want(plain.Needs(gate), stage.Request{}, `f 0644 0:0 app "1"`)
	_, with := f.build(plain.Needs(gate), stage.Request{})
	_, without := f.build(plain, stage.Request{})
	if a, b := f.digest(with), f.digest(without); a != b {
		f.Errorf("a needed stage changes the digest: %s, without %s", a, b)
	}
	at, bad := line(), gate.Remove("/missing")
	f.blames(f.fails(plain.Needs(bad), stage.Request{}), at, "/missing")
}

func testCanceled(f *fixture) {
	ctx, cancel := context.WithCancel(f.Context())
	cancel()
	res, err := f.executor().Execute(ctx, f.compile(described()), stage.Request{})
	if err == nil {
		res.Close()
	}
	if !errors.Is(err, context.Canceled) {
		f.Errorf("Execute with a cancelled context: %v, want context.Canceled", err)
	}
	f.execute(f.executor(), f.compile(described()), stage.Request{}) // and nothing is spoiled
}

// testDeferred gives a graph whose base image nobody resolved.
func testDeferred(f *fixture) {
	if err := f.fails(stage.From("example.com/base:1").File("/a", "x"), stage.Request{}); err.Error() == "" {
		f.Error("an error without text")
	}
}

// testAfterFailure builds, after a failure, what the failed build had in common
// with a good one.
func testAfterFailure(f *fixture) {
	good := stage.Scratch().File("/a", "1").File("/b", "2")
	f.fails(good.Remove("/c"), stage.Request{})
	f.want(good, stage.Request{}, `f 0644 0:0 a "1"`, `f 0644 0:0 b "2"`)
}

// testRunRefused wants a graph with a Run step refused before anything happens.
func testRunRefused(f *fixture) {
	base := stage.Scratch().File("/a", "1")
	at, s := line(), base.Run("true")
	e := &events{}
	err := f.fails(s, stage.Request{Progress: e.add})
	if !errors.Is(err, stage.ErrUnsupported) {
		f.Errorf("Run: %v, want stage.ErrUnsupported", err)
	}
	f.blames(err, at)
	if len(e.list) > 0 {
		f.Errorf("before it was refused the build had %d events: %+v", len(e.list), e.list)
	}
}
