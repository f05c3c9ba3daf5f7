package dag

import (
	"context"
	"runtime/debug"
)

// call is one evaluation of one key. The Scheduler's mutex guards the fields
// below it; value, err and panicked are written before done is closed and
// read after.
type call[K comparable, V any] struct {
	key    K
	cancel context.CancelCauseFunc
	done   chan struct{}

	value    V
	err      error
	panicked *PanicError

	// Guarded by Scheduler.mu.
	finished  bool
	abandoned bool                // nobody waits any more; being cancelled
	waiters   int                 // demands waiting for done
	waitsFor  map[*call[K, V]]int // how many of this task's demands wait for each
}

// demand waits for the value of in.Key on behalf of from, nil for the outside.
func (s *Scheduler[K, V]) demand(ctx context.Context, from *call[K, V], in Input[K, V]) (V, error) {
	var zero V
	for {
		c, joined, err := s.join(ctx, from, in)
		if err != nil {
			return zero, err
		}
		if joined {
			return s.wait(ctx, from, c)
		}
		// An abandoned evaluation is still ending. Two at once for one key
		// would break the promise of the package, so it goes first.
		select {
		case <-c.done:
		case <-ctx.Done():
		}
	}
}

// join registers a wait of from for the call of in.Key, starting it if there is
// none. It reports false when that call is an abandoned one. A result that is
// there already is good even for a context that has ended: so of several failed
// inputs the same one is reported, whichever Demand.All looked at first.
func (s *Scheduler[K, V]) join(ctx context.Context, from *call[K, V], in Input[K, V]) (c *call[K, V], joined bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, found := s.calls[in.Key]
	if found && c.finished {
		return c, true, nil
	}
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	if found && from != nil {
		// Checked for an abandoned call too: to wait for its end is a wait.
		if path := waitPath(c, from); path != nil {
			return nil, false, &CycleError[K]{Keys: path}
		}
	}
	if found && c.abandoned {
		return c, false, nil
	}
	if !found {
		// The task belongs to all who will want it, so the first one's
		// deadline and cancellation must not reach it.
		taskCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		c = &call[K, V]{key: in.Key, cancel: cancel, done: make(chan struct{}), waitsFor: map[*call[K, V]]int{}}
		s.calls[in.Key] = c
		go s.run(taskCtx, c, in.Task)
	}
	c.waiters++
	if from != nil {
		from.waitsFor[c]++
	}
	return c, true, nil
}

// wait returns the result of c, or the cause of ctx should that end first. Who
// abandons c stays until it has ended, and passes its panic on if it has one.
func (s *Scheduler[K, V]) wait(ctx context.Context, from, c *call[K, V]) (V, error) {
	select {
	case <-c.done:
	case <-ctx.Done():
	}
	finished, last := s.leave(from, c)
	if finished {
		return c.result()
	}
	if last {
		c.cancel(context.Cause(ctx))
		<-c.done
		if c.panicked != nil {
			panic(c.panicked)
		}
	}
	var zero V
	return zero, context.Cause(ctx)
}

// leave takes back what join registered. It reports whether c has a result, and
// if not whether that leaves it without anybody who wants it: it is abandoned.
func (s *Scheduler[K, V]) leave(from, c *call[K, V]) (finished, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from != nil {
		if n := from.waitsFor[c]; n > 1 {
			from.waitsFor[c] = n - 1
		} else {
			delete(from.waitsFor, c)
		}
	}
	if c.finished {
		return true, false
	}
	c.waiters--
	c.abandoned = c.waiters == 0
	return false, c.abandoned
}

// run evaluates c and tells those who wait.
func (s *Scheduler[K, V]) run(ctx context.Context, c *call[K, V], task Task[K, V]) {
	returned := false
	defer func() {
		if !returned {
			if p := recover(); p != nil {
				c.panicked = asPanicError(p)
			} else {
				c.err = ErrGoexit
			}
		}
		c.cancel(nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		c.finished = true
		if c.abandoned {
			delete(s.calls, c.key)
		}
		close(c.done)
	}()
	c.value, c.err = task(ctx, &Demand[K, V]{s: s, call: c})
	returned = true
}

func (c *call[K, V]) result() (V, error) {
	if c.panicked != nil {
		panic(c.panicked)
	}
	if c.err != nil {
		var zero V
		return zero, c.err
	}
	return c.value, nil
}

func asPanicError(p any) *PanicError {
	if e, ok := p.(*PanicError); ok {
		return e // already carries the stack of where it began
	}
	return &PanicError{Value: p, Stack: debug.Stack()}
}
