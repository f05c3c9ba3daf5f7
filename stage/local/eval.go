package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

type demand = dag.Demand[task, any]

// outcome is what a step did to the files: the same whether the cache knew it or
// it was done now.
type outcome struct {
	record
	changes []tree.Change

	index contentIndex
}

// outcome finds or makes the result of a step.
func (s *session) outcome(ctx context.Context, d *demand, id int) (*outcome, error) {
	id = s.below(id)
	if s.isQuick(id) {
		o, err := s.settle(ctx, d, id)
		if err != nil {
			return nil, err
		}
		return &o.outcome, nil
	}
	return get(ctx, s, d, task{kind: kindOutcome, step: id}, func(ctx context.Context, d *demand) (*outcome, error) {
		step := s.steps[id]
		if err := s.pass(ctx, d, s.gates[id]); err != nil {
			return nil, err
		}
		o, err := s.known(ctx, d, step)
		if err != nil {
			return nil, err
		}
		if o != nil {
			s.finish(step, stage.Hit, time.Time{}, o.record, nil)
			return o, nil
		}
		var began time.Time
		o, status, err := s.perform(ctx, d, step, &began)
		if err != nil {
			return nil, s.failed(ctx, step, began, err)
		}
		rec := o.record
		if rec.On, _, err = s.standsOn(ctx, d, step); err != nil {
			return nil, err
		}
		if rec.Recipe, err = s.describeRecipe(ctx, step); err != nil {
			return nil, err
		}
		err = s.keep(ctx, step, s.recipes[id], rec, func(err error) {
			if err == nil {
				s.noteMade(step)
			}
		})
		if err != nil {
			return nil, err
		}
		if status == stage.Hit {
			began = time.Time{}
		} else {
			s.writeAhead(step)
		}
		s.finish(step, status, began, o.record, nil)
		return o, nil
	})
}

// known finds the result of a step by its recipe. It counts only on top of the files
// that it was made on, and what a Run left on disk must still be whole, since only
// another run could bring it back.
func (s *session) known(ctx context.Context, d *demand, step *stage.Step) (*outcome, error) {
	if _, ok := step.Op.(*stage.BaseOp); ok {
		return nil, nil
	}
	o, err := s.lookup(ctx, step, s.recipes[step.ID])
	if o == nil || err != nil {
		return nil, err
	}
	on, parent, err := s.standsOn(ctx, d, step)
	switch {
	case err != nil:
		return nil, err
	case o.On != on && !(o.On.IsZero() && s.follows[step.ID]):
		s.noteMissed(step, stage.CauseFiles)
		return nil, nil
	case !s.intact(ctx, o, parent):
		s.noteMissed(step, stage.CauseLost)
		return nil, nil
	}
	return o, nil
}

// standsOn digests the files that a step continues and those that it reads of other
// steps.
func (s *session) standsOn(ctx context.Context, d *demand, step *stage.Step) (cache.Digest, *tree.Node, error) {
	if step.Parent < 0 {
		return cache.Digest{}, nil, nil
	}
	parent, inputs, err := s.stands(ctx, d, step)
	if err != nil {
		return cache.Digest{}, nil, err
	}
	k := cache.NewKey("stands on", 1).Digest("files", cache.Digest(parent.Key()))
	for _, t := range inputs {
		k.Digest("files", cache.Digest(t.Key()))
	}
	return cache.Digest(k.Sum()), parent, nil
}

// failed wraps an error as the failure of its step, unless it already is one of a
// step below.
func (s *session) failed(ctx context.Context, step *stage.Step, start time.Time, err error) error {
	var known *stage.Error
	switch {
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		s.finish(step, stage.Canceled, start, record{}, ctx.Err())
		return err
	}
	e := fail(step, err)
	s.finish(step, stage.Failed, start, record{}, e)
	return e
}

// fail is the failure of a step, with the advice that err has.
func fail(step *stage.Step, err error) *stage.Error {
	if fixed, ok := errors.AsType[*fixError](err); ok {
		return step.Fail(fixed.err, fixed.fix)
	}
	return step.Fail(err, "")
}

// fixError is an error with advice.
type fixError struct {
	err error
	fix string
}

func (e *fixError) Error() string { return e.err.Error() }
func (e *fixError) Unwrap() error { return e.err }

// pass waits for steps that must have succeeded.
func (s *session) pass(ctx context.Context, d *demand, gates []int) error {
	if s.planning {
		return nil
	}
	inputs := make([]dag.Input[task, any], len(gates))
	for i, id := range gates {
		inputs[i] = dag.Input[task, any]{
			Key:  task{kind: kindGate, step: id},
			Task: func(ctx context.Context, d *demand) (any, error) { return s.outcome(ctx, d, id) },
		}
	}
	_, err := d.All(ctx, inputs...)
	return err
}

// lookup finds a record of a step with everything that it names; nil is a miss.
func (s *session) lookup(ctx context.Context, step *stage.Step, key cache.Key) (*outcome, error) {
	rec, ok, err := load[record](ctx, s, key)
	if !ok || !s.fresh(step, time.Unix(0, rec.Ran)) {
		return nil, err
	}
	if rec.Imported && rec.On.IsZero() && rec.Content != key && !s.follows[step.ID] {
		return nil, nil // it does not say of which files it is
	}
	if ok, err := s.hasBytes(ctx, rec); !ok || err != nil || !s.hasOutput(ctx, rec.Output) {
		return nil, err
	}
	changes, err := s.changes(ctx, rec)
	if errors.Is(err, errMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &outcome{record: rec, changes: changes}, nil
}

// begin tells that a step starts, and when: waiting for what it stands on is not part
// of its time.
func (s *session) begin(step *stage.Step, began *time.Time) {
	*began = time.Now()
	s.emit(stage.StepStarted{Step: step, Time: *began})
}

// perform does what a step asks for, on the trees of what it stands on.
func (s *session) perform(ctx context.Context, d *demand, step *stage.Step, began *time.Time) (*outcome, stage.Status, error) {
	if op, ok := step.Op.(*stage.BaseOp); ok {
		if op.Ref == "" {
			return &outcome{}, stage.Hit, nil
		}
		s.begin(step, began)
		base, err := s.base(ctx, d, step)
		if err != nil {
			return nil, "", err
		}
		rec, status := base.read()
		return &outcome{record: rec}, status, nil
	}
	parent, inputs, err := s.stands(ctx, d, step)
	if err != nil {
		return nil, "", err
	}
	switch op := step.Op.(type) {
	case *stage.RunOp:
		return s.performRun(ctx, d, step, op, parent, inputs, began)
	case *stage.FuncOp:
		return s.performFunc(ctx, d, step, op, parent, began)
	}
	s.begin(step, began)
	o, err := s.changeFiles(ctx, parent, func(pack *packWriter) (*tree.Node, error) {
		return s.performFiles(ctx, d, step, parent, inputs, pack)
	})
	if err == nil {
		o.Ran = began.UnixNano()
	}
	return o, stage.Ran, err
}

// changeFiles makes the outcome of a function of trees.
func (s *session) changeFiles(ctx context.Context, parent *tree.Node, do func(*packWriter) (*tree.Node, error)) (*outcome, error) {
	pack := &packWriter{ctx: ctx, store: s.opts.Store}
	defer pack.discard()
	after, err := do(pack)
	if err != nil {
		return nil, err
	}
	packed, err := pack.commit()
	if err != nil {
		return nil, fmt.Errorf("local: cache: %w", err)
	}
	changes := tree.Diff(parent, after)
	rec := recordOf(changes)
	rec.Pack = packed
	err = s.describeChanges(ctx, &rec, changes)
	return &outcome{record: rec, changes: changes}, err
}

// stands returns the files that a step continues, nothing for one that is independent of
// them, and those of its inputs.
func (s *session) stands(ctx context.Context, d *demand, step *stage.Step) (parent *tree.Node, inputs []*tree.Node, err error) {
	if independent(step.Op) {
		inputs, err = s.trees(ctx, d, step.Inputs)
		return emptyRoot, inputs, err
	}
	trees, err := s.trees(ctx, d, append([]int{step.Parent}, step.Inputs...))
	if err != nil {
		return nil, nil, err
	}
	return trees[0], trees[1:], nil
}

func (s *session) epoch() int64 { return s.opts.Epoch.UnixNano() }

// trees returns the files after several steps, which are made side by side: one
// that waits holds up no other.
func (s *session) trees(ctx context.Context, d *demand, ids []int) ([]*tree.Node, error) {
	trees := make([]*tree.Node, len(ids))
	inputs := make([]dag.Input[task, any], 0, len(ids))
	at := make([]int, 0, len(ids))
	for i, id := range ids {
		if s.isInstant(id) {
			var err error
			if trees[i], err = s.instantTree(ctx, id); err != nil {
				return nil, err
			}
			continue
		}
		at = append(at, i)
		inputs = append(inputs, dag.Input[task, any]{
			Key:  task{kind: kindBranch, step: id},
			Task: func(ctx context.Context, d *demand) (any, error) { return s.tree(ctx, d, id) },
		})
	}
	all, err := s.all(ctx, d, inputs)
	if err != nil {
		return nil, err
	}
	for i, t := range all {
		trees[at[i]] = t.(*tree.Node)
	}
	return trees, nil
}

// all demands several values at once, from within a task or from outside of any.
func (s *session) all(ctx context.Context, d *demand, inputs []dag.Input[task, any]) ([]any, error) {
	if d != nil {
		return d.All(ctx, inputs...)
	}
	values := make([]any, len(inputs))
	for i, in := range inputs {
		var err error
		if values[i], err = s.sched.Do(ctx, in.Key, in.Task); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// tree returns the files as they are after a step.
func (s *session) tree(ctx context.Context, d *demand, id int) (*tree.Node, error) {
	id = s.below(id)
	if s.isQuick(id) {
		o, err := s.settle(ctx, d, id)
		if err != nil {
			return nil, err
		}
		return o.after, nil
	}
	return get(ctx, s, d, task{kind: kindTree, step: id}, func(ctx context.Context, d *demand) (*tree.Node, error) {
		step := s.steps[id]
		if op, ok := step.Op.(*stage.BaseOp); ok {
			if op.Ref == "" {
				return emptyRoot, nil
			}
			if _, err := s.outcome(ctx, d, id); err != nil {
				return nil, err
			}
			base, err := s.base(ctx, d, step)
			if err != nil {
				return nil, err
			}
			return base.root(), nil
		}
		o, err := s.outcome(ctx, d, id)
		if err != nil {
			return nil, err
		}
		parent, err := s.tree(ctx, d, step.Parent)
		if err != nil {
			return nil, err
		}
		after, err := tree.Apply(parent, o.changes)
		if err != nil {
			return nil, fmt.Errorf("local: %s: the cache has changes that do not fit: %w: %w", step.Text, errMissing, err)
		}
		return after, nil
	})
}
