package executortest_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/executortest"
)

// recorder is an executor on top of another one. It counts the builds and the
// steps that ran, and passes everything on: plans, progress, programs.
type recorder struct {
	stage.Executor
	builds, ran atomic.Int64
}

func (r *recorder) Execute(ctx context.Context, g *stage.Graph, req stage.Request) (stage.Result, error) {
	r.builds.Add(1)
	told := req.Progress
	req.Progress = func(e stage.Event) {
		if f, ok := e.(stage.StepFinished); ok && f.Status == stage.Ran {
			r.ran.Add(1)
		}
		if told != nil {
			told(e)
		}
	}
	return r.Executor.Execute(ctx, g, req)
}

func (r *recorder) Plan(ctx context.Context, g *stage.Graph, req stage.Request) ([]stage.PlannedStep, error) {
	return stage.Plan(ctx, r.Executor, g, req)
}

func TestRecorder(t *testing.T) {
	var all []*recorder
	executortest.Test(t, func(t *testing.T) stage.Executor {
		r := &recorder{Executor: onStore(memory)(t)}
		all = append(all, r)
		return r
	}, executortest.Options{})
	builds, ran := int64(0), int64(0)
	for _, r := range all {
		builds, ran = builds+r.builds.Load(), ran+r.ran.Load()
	}
	if builds == 0 || ran == 0 {
		t.Errorf("the recorder saw %d builds and %d steps", builds, ran)
	}
}
