package local_test

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// Close ends what RunProcess runs and waits for it; a closed result does nothing more.
func TestCloseBesideRunProcess(t *testing.T) {
	e := executor(t, t.TempDir(), local.Options{})
	s := shell(t).File("/f", "x")
	res, err := e.Execute(t.Context(), compile(t, s), stage.Request{})
	if err != nil {
		t.Fatal(err)
	}
	step := res.Outputs()[0].Target.Step
	files, err := res.Files(step)
	if err != nil {
		t.Fatal(err)
	}
	started, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- stage.RunProcess(t.Context(), res, step, stage.Process{
			Argv: []string{"/bin/sh", "-c", "echo started; while true; do sleep 1; done"}, Stdout: w,
		})
	}()
	if _, err := started.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, started)
	if err := res.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-ended; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("RunProcess ended with %v, want fs.ErrClosed", err)
	}
	if err := stage.RunProcess(t.Context(), res, step, stage.Process{Argv: []string{"/bin/true"}}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("RunProcess after Close: %v, want fs.ErrClosed", err)
	}
	if _, err := res.Files(step); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Files after Close: %v, want fs.ErrClosed", err)
	}
	if _, err := fs.ReadFile(files, "f"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("reading after Close: %v, want fs.ErrClosed", err)
	}
	if err := res.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// A callback that panics ends the build, in whatever goroutine it was called, and the panic
// comes out of Execute.
func TestProgressPanics(t *testing.T) {
	e := executor(t, t.TempDir(), local.Options{})
	s := shell(t).Run("echo out; while true; do sleep 1; done")
	for name, on := range map[string]func(stage.Event) bool{
		"the start of a step": func(ev stage.Event) bool { _, ok := ev.(stage.StepStarted); return ok },
		"output":              func(ev stage.Event) bool { _, ok := ev.(stage.StepOutput); return ok },
	} {
		calls := 0
		func() {
			defer func() {
				p, ok := recover().(*dag.PanicError)
				if !ok || p.Value != "mine" || !strings.Contains(string(p.Stack), "TestProgressPanics") {
					t.Errorf("%s: recovered %v, want the panic of the callback with its stack", name, p)
				}
			}()
			e.Execute(t.Context(), compile(t, s), stage.Request{Progress: func(ev stage.Event) {
				if on(ev) {
					calls++
					panic("mine")
				}
			}})
			t.Errorf("%s: Execute returned", name)
		}()
		if calls != 1 {
			t.Errorf("%s: the callback was called %d times after it had panicked", name, calls-1)
		}
	}
	build(t, e, shell(t).Run("true"), stage.Request{}) // and nothing is spoiled
}
