package executortest_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/executortest"
)

// quirks are mistakes of an executor, each with a test of the suite that must
// find it.
var quirks = map[string]string{
	"outputs in the wrong order":       "Outputs",
	"unknown steps have files":         "FilesOfEachStep",
	"an end is not told":               "Events",
	"events overlap":                   "Events",
	"a start is told twice":            "Events",
	"events and report differ":         "Report",
	"errors without a place":           "MissingFile",
	"a failure is told as a success":   "EventsOfFailure",
	"the context is ignored":           "Canceled",
	"a second Close fails":             "CloseTwice",
	"other files than the image":       "File",
	"the report lacks a step":          "Report",
	"Run is refused without its error": "RunRefused",
	"one failure ends a partial build": "Partial",
	"what failed is not told":          "Partial",
}

// quirky is filesOnly with one mistake.
type quirky struct {
	filesOnly
	quirk string
}

type quirkyResult struct {
	stage.Result
	quirk  string
	closed int
}

func (q quirky) Execute(ctx context.Context, g *stage.Graph, r stage.Request) (stage.Result, error) {
	if told := r.Progress; told != nil {
		r.Progress = func(e stage.Event) { q.tell(e, told) }
	}
	if q.quirk == "the context is ignored" {
		ctx = context.WithoutCancel(ctx)
	}
	if q.quirk == "one failure ends a partial build" {
		r.Partial = false
	}
	res, err := q.filesOnly.Execute(ctx, g, r)
	if err == nil {
		return &quirkyResult{Result: res, quirk: q.quirk}, nil
	}
	switch q.quirk {
	case "errors without a place", "Run is refused without its error":
		return nil, &fs.PathError{Op: "build", Path: err.Error(), Err: os.ErrInvalid}
	}
	return nil, err
}

func (r *quirkyResult) Failed() []stage.PlatformFailure {
	if r.quirk == "what failed is not told" {
		return nil
	}
	return stage.FailedOf(r.Result)
}

func (q quirky) tell(e stage.Event, told func(stage.Event)) {
	end, ended := e.(stage.StepFinished)
	_, started := e.(stage.StepStarted)
	switch q.quirk {
	case "an end is not told":
		if ended && end.Step.ID == 2 {
			return
		}
	case "a start is told twice":
		if started {
			told(e)
		}
	case "events overlap":
		if ended {
			told(stage.Notice{Text: "overlap"})
			done := make(chan struct{})
			for range 2 {
				go func() {
					defer func() { done <- struct{}{} }()
					for range 1000 {
						told(stage.Notice{Text: "overlap"})
					}
				}()
			}
			<-done
			<-done
		}
	case "events and report differ":
		end.Files += 2
		if ended {
			e = end
		}
	case "a failure is told as a success":
		if ended {
			end.Status, end.Err = stage.Ran, nil
			e = end
		}
	}
	told(e)
}

func (r *quirkyResult) Outputs() []stage.Output {
	out := r.Result.Outputs()
	if r.quirk == "outputs in the wrong order" && len(out) > 1 {
		out[0], out[1] = out[1], out[0]
	}
	return out
}

func (r *quirkyResult) Files(step int) (fs.FS, error) {
	fsys, err := r.Result.Files(step)
	switch {
	case err != nil && r.quirk == "unknown steps have files":
		return fstest.MapFS{}, nil
	case err == nil && r.quirk == "other files than the image":
		return fstest.MapFS{}, nil
	}
	return fsys, err
}

func (r *quirkyResult) Report() stage.Report {
	report := r.Result.Report()
	if r.quirk == "the report lacks a step" {
		report.Steps = report.Steps[1:]
	}
	return report
}

func (r *quirkyResult) Close() error {
	if r.closed++; r.closed > 1 && r.quirk == "a second Close fails" {
		return os.ErrClosed
	}
	return r.Result.Close()
}

// quirkVariable tells the test process that TestQuirks starts which mistake its
// executor makes.
const quirkVariable = "EXECUTORTEST_QUIRK"

// TestBroken has an executor only in the processes of TestQuirks.
func TestBroken(t *testing.T) {
	quirk := os.Getenv(quirkVariable)
	if quirk == "" {
		return
	}
	executortest.Test(t, func(*testing.T) stage.Executor { return quirky{quirk: quirk} }, executortest.Options{FilesOnly: true, NoCache: true})
}

func TestQuirks(t *testing.T) {
	run := func(t *testing.T, quirk string) string {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$")
		cmd.Env = append(os.Environ(), quirkVariable+"="+quirk)
		out, _ := cmd.CombinedOutput() // the exit code is no news: FAIL is looked for
		return string(out)
	}
	if out := run(t, "none"); strings.Contains(out, "FAIL") {
		t.Fatalf("the suite fails without a mistake:\n%s", out)
	}
	for quirk, want := range quirks {
		if out := run(t, quirk); !strings.Contains(out, "--- FAIL: TestBroken/"+want+" ") {
			t.Errorf("%s: %s did not fail:\n%s", quirk, want, out)
		}
	}
}
