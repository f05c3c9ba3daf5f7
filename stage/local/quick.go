package local

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// A step is quick when its files follow from its recipe alone, and making them out of trees that are there costs
// less than reading what the cache has of it: files, directories and copies on a base image or on nothing, with nothing
// below that runs. It is always done, and its record tells only that it was done before, and what explanations need.
// Records of quick steps are written many at once, at the latest when the build ends.
type quick struct {
	is      []bool // of each step
	instant []bool // of quick steps and of scratch: nothing below has to be read
	done    []atomic.Pointer[quickStep]
	before  []atomic.Bool // of steps that were done in an earlier build, as far as was looked
	turns   [64]quickTurn // by the last bits of a step's number: a step is done once
	records recordWriter
}

type quickTurn struct{ slot chan struct{} }

// quickStep is a quick step that was done.
type quickStep struct {
	outcome
	after *tree.Node
}

// findQuick finds the quick steps of the session. follows says of each step whether its files follow from its recipe.
func (s *session) findQuick() {
	n := len(s.steps)
	s.follows = make([]bool, n)
	q := &quick{is: make([]bool, n), instant: make([]bool, n), done: make([]atomic.Pointer[quickStep], n), before: make([]atomic.Bool, n)}
	for i := range q.turns {
		q.turns[i].slot = make(chan struct{}, 1)
	}
	base := make([]bool, n)
	for i, step := range s.steps {
		if !s.needed[i] {
			continue
		}
		if op, ok := step.Op.(*stage.BaseOp); ok {
			s.follows[i], base[i], q.instant[i] = true, true, op.Ref == ""
			continue
		}
		if !changesFiles(step.Op) {
			s.follows[i], base[i], q.is[i], q.instant[i] = s.follows[step.Parent], base[step.Parent], q.is[step.Parent], q.instant[step.Parent]
			continue
		}
		follows := s.onlyMovesFiles(step)
		is := follows && len(s.gates[i]) == 0 && !s.anew[i] && step.CacheRule().MaxAge == 0
		instant := is
		for _, id := range standing(step) {
			follows = follows && s.follows[id]
			is = is && (q.is[id] || base[id])
			instant = instant && q.instant[id]
		}
		s.follows[i], q.is[i], q.instant[i] = follows, follows && is, follows && is && instant
	}
	s.quick = q
}

// onlyMovesFiles reports whether a step makes its files of trees alone, without a look into a file. Names of owners are
// in files.
func (s *session) onlyMovesFiles(step *stage.Step) bool {
	switch op := step.Op.(type) {
	case *stage.CopyOp:
		return op.Chown == "" && op.Unpack == stage.UnpackNever && !independent(op)
	case *stage.FileOp:
		return op.Owner == ""
	case *stage.MkdirOp:
		return op.Owner == ""
	case *stage.WorkdirOp:
		return op.User == ""
	case *stage.SymlinkOp, *stage.RemoveOp:
		return true
	}
	return false
}

func (s *session) isQuick(id int) bool   { return s.quick != nil && s.quick.is[id] }
func (s *session) isInstant(id int) bool { return s.quick != nil && s.quick.instant[id] }

// instantTree returns the files after a step that waits for nothing.
func (s *session) instantTree(ctx context.Context, id int) (*tree.Node, error) {
	if id = s.below(id); !s.quick.is[id] {
		return emptyRoot, nil
	}
	o, err := s.settle(ctx, nil, id)
	if err != nil {
		return nil, err
	}
	return o.after, nil
}

// settle does a quick step, and before it those that it stands on and that were not done yet, in the order of their
// numbers, in which each comes after what it stands on.
func (s *session) settle(ctx context.Context, d *demand, id int) (*quickStep, error) {
	if o := s.quick.done[id].Load(); o != nil {
		return o, nil
	}
	steps, bases := s.unsettled(id)
	if len(bases) > 0 {
		if _, err := s.trees(ctx, d, bases); err != nil {
			return nil, err
		}
	}
	if err := s.lookAll(ctx, d, id, steps); err != nil {
		return nil, err
	}
	if err := s.settleAll(ctx, d, id, steps); err != nil {
		return nil, err
	}
	return s.quick.done[id].Load(), nil
}

// fewSteps is how many quick steps one goroutine does as fast as two.
const fewSteps = 500

// settleAll does quick steps in the order of their numbers, of which id is the last. Of many, another task goes ahead
// and does those that stand on nothing else that is to be done: most often these are stages of their own.
func (s *session) settleAll(ctx context.Context, d *demand, id int, steps []int) error {
	if len(steps) < fewSteps || s.opts.Parallel == 1 {
		return s.settleSome(ctx, d, steps, func(*stage.Step) bool { return true })
	}
	inputs := []dag.Input[task, any]{
		{Key: task{kind: kindSettle, step: id}, Task: func(ctx context.Context, d *demand) (any, error) {
			return nil, s.settleSome(ctx, d, steps, func(*stage.Step) bool { return true })
		}},
		{Key: task{kind: kindSettleReady, step: id}, Task: func(ctx context.Context, d *demand) (any, error) {
			return nil, s.settleSome(ctx, d, steps[len(steps)/4:], s.isReady)
		}},
	}
	_, err := s.all(ctx, d, inputs)
	return err
}

// settleSome does those of some quick steps that are wanted when their turn comes.
func (s *session) settleSome(ctx context.Context, d *demand, steps []int, wanted func(*stage.Step) bool) error {
	for _, i := range steps {
		step := s.steps[i]
		if !wanted(step) {
			continue
		}
		if err := s.settleOne(ctx, d, step); err != nil {
			return err
		}
	}
	return nil
}

// isReady reports whether a quick step stands on nothing that is to be done.
func (s *session) isReady(step *stage.Step) bool {
	for _, id := range standing(step) {
		if id = s.below(id); s.quick.is[id] && s.quick.done[id].Load() == nil {
			return false
		}
	}
	return true
}

// lookAll is lookQuick; of many steps, another task looks for those of the second half. One that the first half is about to find covered by
// it is then looked for in vain.
func (s *session) lookAll(ctx context.Context, d *demand, id int, steps []int) error {
	if len(steps) < fewSteps || s.opts.Parallel == 1 {
		return s.lookQuick(ctx, steps)
	}
	look := func(kind kind, steps []int) dag.Input[task, any] {
		return dag.Input[task, any]{Key: task{kind: kind, step: id}, Task: func(ctx context.Context, _ *demand) (any, error) {
			return nil, s.lookQuick(ctx, steps)
		}}
	}
	_, err := s.all(ctx, d, []dag.Input[task, any]{look(kindLook, steps[len(steps)/2:]), look(kindLookBelow, steps[:len(steps)/2])})
	return err
}

// lookQuick finds out which of some quick steps, in the order of their numbers, were done before: those that have a record, and what
// they stand on, whose records nobody has to look at. A stage that nothing has changed costs one look.
func (s *session) lookQuick(ctx context.Context, steps []int) error {
	for _, i := range slices.Backward(steps) {
		if before := &s.quick.before[i]; !before.Load() {
			known, err := s.recorded(ctx, s.recipes[i])
			if err != nil {
				return err
			}
			if !known {
				continue
			}
			before.Store(true)
		}
		for _, next := range standing(s.steps[i]) {
			if next = s.below(next); s.quick.is[next] {
				s.quick.before[next].Store(true)
			}
		}
	}
	return nil
}

// unsettled lists the quick steps at and below one that were not done, and the base images that they stand on.
func (s *session) unsettled(id int) (steps, bases []int) {
	seen := map[int]bool{id: true}
	todo := []int{id}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		step := s.steps[at]
		if op, ok := step.Op.(*stage.BaseOp); ok {
			if op.Ref != "" {
				bases = append(bases, at)
			}
			continue
		}
		steps = append(steps, at)
		for _, next := range standing(step) {
			if next = s.below(next); !seen[next] && s.quick.done[next].Load() == nil {
				seen[next] = true
				todo = append(todo, next)
			}
		}
	}
	slices.Sort(steps)
	return steps, bases
}

// settleOne does one quick step, unless somebody has done it. What it stands on is there.
func (s *session) settleOne(ctx context.Context, d *demand, step *stage.Step) error {
	turn := s.quick.turns[step.ID%len(s.quick.turns)].slot
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.quick.done[step.ID].Load() != nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	known := s.quick.before[step.ID].Load() || s.quick.records.has(s.recipes[step.ID])
	var began time.Time
	status := stage.Hit
	if !known {
		status = stage.Ran
		s.begin(step, &began)
	}
	o, err := s.move(ctx, d, step)
	if err != nil {
		return s.failed(ctx, step, began, err)
	}
	if !known && !s.planning {
		o.Ran = began.UnixNano()
		if err := s.quick.records.add(ctx, s, step, o); err != nil {
			return err
		}
		s.noteMade(step)
	}
	s.quick.done[step.ID].Store(o)
	s.finish(step, status, began, o.record, nil)
	return nil
}

// move makes the files of a quick step.
func (s *session) move(ctx context.Context, d *demand, step *stage.Step) (*quickStep, error) {
	parent, err := s.settledTree(ctx, d, step.Parent)
	if err != nil {
		return nil, err
	}
	inputs := make([]*tree.Node, len(step.Inputs))
	for i, id := range step.Inputs {
		if inputs[i], err = s.settledTree(ctx, d, id); err != nil {
			return nil, err
		}
	}
	after, err := s.performFiles(ctx, d, step, parent, inputs, nil)
	if err != nil {
		return nil, err
	}
	changes := tree.Diff(parent, after)
	return &quickStep{outcome{record: recordOf(changes), changes: changes}, after}, nil
}

// settledTree returns the files after a step that is done: a quick one, or a base.
func (s *session) settledTree(ctx context.Context, d *demand, id int) (*tree.Node, error) {
	id = s.below(id)
	if o := s.quick.done[id].Load(); o != nil {
		return o.after, nil
	}
	return s.tree(ctx, d, id)
}

// recorded reports whether the cache, or another machine's, has a record under a key.
func (s *session) recorded(ctx context.Context, key cache.Key) (bool, error) {
	if _, err := s.opts.Store.Get(ctx, key); err == nil {
		return true, nil
	}
	if len(s.from) == 0 || ctx.Err() != nil {
		return false, ctx.Err()
	}
	_, ok, err := importRecord[record](ctx, s, key)
	return ok, err
}

// locateQuick finds bytes that quick steps at and below one put where they are, and takes them away from wanted: by one walk
// along the steps, whatever is wanted. What it leaves is found by locate.
func (s *session) locateQuick(ctx context.Context, d *demand, id int, wanted map[tree.Digest]string, where map[tree.Digest]openFunc) error {
	for id = s.below(id); s.isQuick(id) && len(wanted) > 0; id = s.below(s.steps[id].Parent) {
		o, err := s.settle(ctx, d, id)
		if err != nil {
			return err
		}
		var below map[tree.Digest]string // wanted of the step that a copy reads
		for _, c := range o.changes {
			if c.Node == nil || c.Node.Kind() != tree.File {
				continue
			}
			digest := c.Node.Content()
			path, ok := wanted[digest]
			if !ok {
				continue
			}
			if op, ok := s.steps[id].Op.(*stage.CopyOp); ok && len(op.Inline) == 0 && len(s.steps[id].Inputs) > 0 {
				if below == nil {
					below = map[tree.Digest]string{}
				}
				below[digest] = path
				continue
			}
			open, err := s.locateOwn(ctx, d, id, digest)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if open != nil {
				where[digest] = open
				delete(wanted, digest)
			}
		}
		if len(below) == 0 {
			continue
		}
		found := slices.Collect(maps.Keys(below))
		if err := s.locateQuick(ctx, d, s.steps[id].Inputs[0], below, where); err != nil {
			return err
		}
		for _, digest := range found {
			if where[digest] != nil {
				delete(wanted, digest)
			}
		}
	}
	return nil
}

// addQuick adds what the cache has of a quick step that this build has done: its record was used then, and of what the record
// names, changes that are too many to be in it.
func (u *uses) addQuick(o *quickStep) {
	const few = 8
	if len(o.changes) <= few {
		return
	}
	if data := tree.Marshal(o.changes); len(data) > maxInline {
		u.add(cache.Digest(sha256.Sum256(data)))
	}
}
