package local

import (
	"context"
	"errors"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// alone takes the lock of a key for the work of a step that the cache does not know, so
// that of several builds with one cache, in this process or in others, one does it. What
// the caller missed it looks up again once it has the lock, and then it calls release,
// which can be called twice. What a step does under the lock of its key waits for the
// locks of what it stands on only, and keys stand on digests: no two builds wait for each
// other.
func (s *session) alone(ctx context.Context, step *stage.Step, key cache.Key) (release func(), err error) {
	lock, err := cache.Lock(ctx, s.opts.Store, cache.NewKey("alone", 1).Key("key", key).Sum(), func() {
		s.emit(stage.Notice{Text: step.Text + ": waiting for another build that is doing the same"})
	})
	if err != nil {
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// shared finds a value in the cache, or makes it, alone among all builds that use the
// cache. find returns nil for a miss.
func shared[V any](ctx context.Context, s *session, step *stage.Step, key cache.Key, find, produce func() (*V, error)) (*V, error) {
	v, release, err := findAlone(ctx, s, step, key, find)
	if release == nil {
		return v, err
	}
	defer release()
	return produce()
}

// findAlone finds a value in the cache. When it is not there, and only then, the caller has the lock of
// its key and is to call release.
func findAlone[V any](ctx context.Context, s *session, step *stage.Step, key cache.Key, find func() (*V, error)) (v *V, release func(), err error) {
	v, err = find()
	if v != nil || err != nil {
		return v, nil, err
	}
	if s.cacheOnly {
		return nil, nil, errWouldRun
	}
	if release, err = s.alone(ctx, step, key); err != nil {
		return nil, nil, err
	}
	if v, err = find(); v != nil || err != nil {
		release()
		return v, nil, err
	}
	return nil, release, nil
}

// execution is one evaluation of a content key, which several steps can share.
type execution struct {
	*outcome
	by    int // the step that ran; -1 for none
	began time.Time
}

// errWouldRun is where planning ends.
var errWouldRun = errors.New("a step would have to run")

// onceByContent finds the result of a step by the files that it sees, or does it. Steps
// that see the same are done once.
func (s *session) onceByContent(ctx context.Context, d *demand, step *stage.Step, parent *tree.Node, inputs []*tree.Node, began *time.Time, do func(context.Context, *demand) (*outcome, error)) (*outcome, stage.Status, error) {
	key, err := s.contentKey(step, parent, inputs)
	if err != nil {
		return nil, "", err
	}
	r, err := get(ctx, s, d, task{kind: kindExecute, key: s.freshKey(step, key)}, func(ctx context.Context, d *demand) (execution, error) {
		r := execution{by: -1}
		find := func() (*outcome, error) {
			o, err := s.lookup(ctx, step, key)
			switch {
			case err != nil:
				return nil, err
			case o != nil && s.intact(ctx, o, parent):
				return o, nil
			case s.planning:
				return nil, errWouldRun
			}
			return nil, nil
		}
		o, release, err := findAlone(ctx, s, step, key, find)
		if release == nil {
			r.outcome = o
			return r, err
		}
		kept := false
		defer func() {
			if !kept {
				release()
			}
		}()
		r.by = step.ID
		s.begin(step, &r.began)
		if r.outcome, err = do(ctx, d); err != nil {
			return r, s.failed(ctx, step, r.began, err)
		}
		r.Ran, r.Content = r.began.UnixNano(), key
		// Who waits for the lock is to find the record.
		kept = true
		return r, s.keep(ctx, step, key, r.record, func(error) { release() })
	})
	if err != nil {
		return nil, "", err
	}
	if r.by == step.ID {
		*began = r.began
		return r.outcome, stage.Ran, nil
	}
	return r.outcome, stage.Hit, nil
}
