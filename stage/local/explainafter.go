package local

import (
	"context"

	"github.com/stagewright/stagewright/stage"
)

var _ stage.ResultExplainer = (*result)(nil)

// Explain tells why the steps of the build were done: what differs from the nearest steps of the
// builds before it. See stage.ExplainResult.
func (r *result) Explain(ctx context.Context) ([]stage.Explanation, error) {
	leave, err := r.enter(0)
	if err != nil {
		return nil, err
	}
	defer leave()
	x := newExplainer(r.s)
	x.after = true
	for i, step := range x.steps {
		f := &x.found[i]
		f.Step, f.Status = step, stage.Hit
		switch {
		case !x.needed[i]:
		case !changesFiles(step.Op):
			f.changed = x.found[step.Parent].changed
		default:
			if err := x.done(ctx, step, f); err != nil {
				return nil, err
			}
		}
	}
	return x.results(), nil
}

// done explains a step of a build that is done.
func (x *explainer) done(ctx context.Context, step *stage.Step, f *finding) error {
	x.reportMu.Lock()
	report, reported := x.reports[step.ID]
	made, missed := x.made[step.ID], x.missed[step.ID]
	x.reportMu.Unlock()
	if op, ok := step.Op.(*stage.BaseOp); ok {
		before, written := x.before[x.names[step.ID]]
		if op.Ref == "" || !written || len(before) == 0 {
			return nil
		}
		history, err := x.stage(ctx, x.names[step.ID])
		if err != nil || history.keys[x.recipes[step.ID]] {
			return err
		}
		f.changed = true
		return x.compare(ctx, step, f)
	}
	if reported {
		f.Status = report.Status
	}
	if !made {
		return nil
	}
	f.changed = true
	switch {
	case x.anew[step.ID]:
		f.Cause = stage.CauseBypassed
		return nil
	case missed == stage.CauseFiles:
		f.Cause = missed
		for _, id := range standing(step) {
			if below := &x.found[x.below(id)]; below.changed && f.After == nil {
				f.After = below.root()
			}
		}
		return nil
	case missed == stage.CauseLost:
		f.Cause = missed
		f.Differences = []stage.Difference{{Kind: stage.Lost, What: "directory", Aspect: "damaged"}}
		return nil
	}
	if err := x.compare(ctx, step, f); err != nil || f.Cause != stage.CauseLost {
		return err
	}
	f.Differences = nil // of what there was the cache has the new record
	if step.CacheRule().MaxAge > 0 {
		f.Cause = stage.CauseExpired
	}
	return nil
}

// root is the first step to look at: this one, or the one below whose change it is.
func (f *finding) root() *stage.Step {
	if f.Cause == stage.CauseBelow && f.After != nil {
		return f.After
	}
	return f.Step
}
