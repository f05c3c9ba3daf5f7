package local

import (
	"context"
	"errors"

	"github.com/stagewright/stagewright/stage"
)

// plan answers for each step from the records alone. A step that misses by its
// recipe can still hit by its content, which is known only when nothing below it
// would have to run.
func (s *session) plan(ctx context.Context) ([]stage.PlannedStep, error) {
	s.planning = true
	plans := make([]stage.PlannedStep, len(s.steps))
	runs := make([]bool, len(s.steps)) // the step, or a Run that it depends on, would run
	var quick []int
	for i := range s.steps {
		if s.needed[i] && s.isQuick(i) && changesFiles(s.steps[i].Op) {
			quick = append(quick, i)
		}
	}
	if err := s.lookQuick(ctx, quick); err != nil {
		return nil, err
	}
	for i, step := range s.steps {
		plans[i] = stage.PlannedStep{Step: step}
		if !s.needed[i] {
			continue
		}
		below := false
		if step.Parent >= 0 {
			below = runs[step.Parent]
		}
		for _, in := range step.Inputs {
			below = below || runs[in]
		}
		status, err := s.planStep(ctx, step, below)
		if err != nil {
			return nil, err
		}
		isRun := byContent(step.Op)
		plans[i].Status = status
		if changesFiles(step.Op) {
			below = status != stage.Hit && (isRun || below)
		}
		runs[i] = below // a step of the configuration hides nothing that is below it
	}
	return plans, nil
}

// byContent reports whether a step is also looked up by the files that it sees, since
// doing it costs more than that: it runs a program or calls a function.
func byContent(op stage.Op) bool {
	switch op.(type) {
	case *stage.RunOp, *stage.FuncOp:
		return true
	}
	return false
}

func (s *session) planStep(ctx context.Context, step *stage.Step, below bool) (stage.Status, error) {
	if !changesFiles(step.Op) {
		return stage.Hit, nil
	}
	if _, ok := step.Op.(*stage.BaseOp); ok {
		return stage.Hit, nil // read only as far as the steps above need it
	}
	if s.isQuick(step.ID) {
		if s.quick.before[step.ID].Load() {
			return stage.Hit, nil
		}
		return stage.Ran, nil
	}
	o, err := s.lookup(ctx, step, s.recipes[step.ID])
	switch {
	case err != nil:
		return "", err
	case o != nil && below:
		return "", nil // it counts only on the files that it was made on
	case o != nil:
		return stage.Hit, nil
	}
	switch ok := byContent(step.Op); {
	case ok && below:
		return "", nil
	case ok:
		return s.planRun(ctx, step)
	}
	return stage.Ran, nil
}

// planRun looks a Run or a function up by its content. The trees below it are computed, which runs
// nothing: where something would have to run, only that can tell.
func (s *session) planRun(ctx context.Context, step *stage.Step) (stage.Status, error) {
	trees, err := s.trees(ctx, nil, append([]int{step.Parent}, step.Inputs...))
	if errors.Is(err, errWouldRun) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	key, err := s.contentKey(step, trees[0], trees[1:])
	if err != nil {
		return "", err
	}
	o, err := s.lookup(ctx, step, key)
	if err != nil {
		return "", err
	}
	if o != nil && s.intact(ctx, o, trees[0]) {
		return stage.Hit, nil
	}
	return stage.Ran, nil
}
