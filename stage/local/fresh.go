package local

import (
	"context"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// prepareRules finds the steps for which the cache counts only under conditions.
func (s *session) prepareRules() (err error) {
	if s.anew, err = s.request.Bypassed(s.graph); err != nil {
		return err
	}
	for i, step := range s.steps {
		s.ruled = s.ruled || s.needed[i] && changesFiles(step.Op) && (s.anew[i] || step.CacheRule().MaxAge > 0)
	}
	return nil
}

// fresh reports whether a result that began to be made at a time counts for a step. What
// another build made while this one is under way is as good as made here. A result from the
// future, of a clock that was set back or of another machine, is as old as it is far away.
func (s *session) fresh(step *stage.Step, ran time.Time) bool {
	if s.anew[step.ID] && ran.Before(s.started) {
		return false
	}
	limit := step.CacheRule().MaxAge
	return limit == 0 || s.started.Sub(ran).Abs() <= limit
}

// freshKey tells apart what several steps with one content key may take from each other.
func (s *session) freshKey(step *stage.Step, key cache.Key) cache.Key {
	limit := step.CacheRule().MaxAge
	if !s.anew[step.ID] && limit == 0 {
		return key
	}
	return cache.NewKey("fresh", 1).Key("key", key).Bool("anew", s.anew[step.ID]).Int("limit", int64(limit)).Sum()
}

// rulesOf are the steps with conditions that a step stands on, itself included, and
// whether one of them has to be made anew.
func (s *session) rulesOf(id int) (ruled []*stage.Step, anew bool) {
	if !s.ruled {
		return nil, false
	}
	marked := make([]bool, len(s.steps))
	marked[id] = true
	markBelow(s.steps, marked)
	for i, step := range s.steps {
		if !marked[i] || !changesFiles(step.Op) {
			continue
		}
		anew = anew || s.anew[i]
		if step.CacheRule().MaxAge > 0 {
			ruled = append(ruled, step)
		}
	}
	return ruled, anew
}

// allFresh reports whether the results of some steps count that began at these times.
func (s *session) allFresh(steps []*stage.Step, ran []int64) bool {
	if len(steps) != len(ran) {
		return false
	}
	for i, step := range steps {
		if !s.fresh(step, time.Unix(0, ran[i])) {
			return false
		}
	}
	return true
}

// whenRan tells when the results of steps began to be made.
func (s *session) whenRan(ctx context.Context, d *demand, steps []*stage.Step) ([]int64, error) {
	var ran []int64
	for _, step := range steps {
		o, err := s.outcome(ctx, d, step.ID)
		if err != nil {
			return nil, err
		}
		ran = append(ran, o.Ran)
	}
	return ran, nil
}
