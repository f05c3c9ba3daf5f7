package local

import (
	"context"
	"errors"
	"slices"

	"github.com/stagewright/stagewright/stage"
)

// openPartial opens a session for the targets that nothing speaks against before
// anything runs, if stage.Request.Partial allows to leave out the others. err is what
// speaks against all of them together.
func (e *Executor) openPartial(ctx context.Context, g *stage.Graph, r stage.Request, err error) (*session, error) {
	targets := g.Targets()
	if !r.Partial || len(targets) < 2 || ctx.Err() != nil || errors.Is(err, ErrClosed) {
		return nil, err
	}
	var good []int
	failed := make([]error, len(targets))
	for i := range targets {
		one, err := e.openBuild(ctx, g, r, []int{i})
		if failed[i] = err; err != nil {
			continue
		}
		if err := one.close(); err != nil {
			return nil, err
		}
		good = append(good, i)
	}
	if len(good) == 0 {
		return nil, err // each mistake once, in the order of the steps
	}
	s, err := e.openBuild(ctx, g, r, good)
	if err != nil {
		return nil, err
	}
	s.unbuilt = failed
	return s, nil
}

// reach marks the steps that some targets need, by their place in Graph.Targets; nil are
// all.
func reach(g *stage.Graph, targets []int) []bool {
	steps := g.Steps()
	needed := make([]bool, len(steps))
	for i, t := range g.Targets() {
		needed[t.Step] = needed[t.Step] || targets == nil || slices.Contains(targets, i)
	}
	markBelow(steps, needed)
	return needed
}

// markBelow marks what marked steps need, too.
func markBelow(steps []*stage.Step, marked []bool) {
	for i, step := range slices.Backward(steps) { // what a step needs comes before it
		if !marked[i] {
			continue
		}
		if step.Parent >= 0 {
			marked[step.Parent] = true
		}
		for _, in := range step.Inputs {
			marked[in] = true
		}
	}
}

// failures lists the targets that failed, and is an error when none is left.
func (s *session) failures() ([]stage.PlatformFailure, error) {
	var list []stage.PlatformFailure
	for i, t := range s.graph.Targets() {
		if s.unbuilt[i] != nil {
			list = append(list, stage.PlatformFailure{Target: t, Platform: t.Platform, Err: s.unbuilt[i]})
		}
	}
	if len(list) < len(s.unbuilt) {
		return list, nil
	}
	return nil, nothingBuilt(list)
}

// nothingBuilt tells why every target failed, each reason once: what several share, such as
// a step on the build platform, without the name of a platform.
func nothingBuilt(failed []stage.PlatformFailure) error {
	var errs []error
	for i, f := range failed {
		same := func(g stage.PlatformFailure) bool { return g.Err.Error() == f.Err.Error() }
		switch {
		case slices.ContainsFunc(failed[:i], same):
		case slices.ContainsFunc(failed[i+1:], same):
			errs = append(errs, f.Err)
		default:
			errs = append(errs, f)
		}
	}
	if len(errs) == 1 {
		return failed[0].Err
	}
	return errors.Join(errs...)
}
