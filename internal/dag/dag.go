// Package dag evaluates a graph of tasks on demand: each key once, in parallel,
// and only what somebody wants. It knows nothing of what the tasks do.
//
// [New] makes a Scheduler, and [Scheduler.Do] asks it for the value of one key.
// A [Task] asks for the values that it needs through its [Demand], with
// [Demand.Get] for one and [Demand.All] for several side by side, and does what
// is expensive inside [Demand.Work].
//
// # Guarantees
//
//   - A key is being evaluated at most once at any time. A value, and a failure,
//     is kept for the life of the Scheduler and given to all who ask; only an
//     evaluation that was abandoned is forgotten, and starts afresh when the key
//     is asked for again.
//   - A waiter whose context ends stops waiting. If others still want the value
//     the evaluation goes on; if none does, its context ends with that waiter's
//     cause, and the waiter returns once the task has.
//   - So when the last Do has returned, no goroutine of the Scheduler is left.
//   - A panic in a task reaches every waiter as a [*PanicError] panic.
//   - A demand that would wait for itself fails with a [*CycleError] and never
//     hangs.
//
// # Limits
//
// Every evaluation under way costs one goroutine. The limit given to New bounds
// only the Work sections, so a task waiting for its inputs, or for a child
// process outside of Work, holds up nobody. Values stay in memory.
//
// A Scheduler may be used by many goroutines at once.
package dag

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// Task computes the value of one key. ctx ends when nobody wants the value any
// more; it carries the values, not the deadline, of the context of the first
// who asked. All goroutines that a task starts must have ended when it returns.
// The error is given, as it is, to everybody who demanded the key.
type Task[K comparable, V any] func(ctx context.Context, d *Demand[K, V]) (V, error)

// Input is a key and how to compute its value. Of several tasks given for the
// same key the first one runs.
type Input[K comparable, V any] struct {
	Key  K
	Task Task[K, V]
}

// Scheduler holds the evaluations of one graph. See the package comment.
type Scheduler[K comparable, V any] struct {
	slots chan struct{}

	mu    sync.Mutex
	calls map[K]*call[K, V]
}

// New returns a Scheduler in which at most limit Work sections run at once. A
// limit below 1 stands for GOMAXPROCS.
func New[K comparable, V any](limit int) *Scheduler[K, V] {
	if limit < 1 {
		limit = runtime.GOMAXPROCS(0)
	}
	return &Scheduler[K, V]{slots: make(chan struct{}, limit), calls: map[K]*call[K, V]{}}
}

// Do returns the value of key, which task computes unless that has happened or
// is under way already.
//
// Errors: that of the task; the cause of ctx when it ends before there is a
// result. A task never calls Do of its own Scheduler, where a cycle
// would go unseen, but [Demand.Get].
func (s *Scheduler[K, V]) Do(ctx context.Context, key K, task Task[K, V]) (V, error) {
	return s.demand(ctx, nil, Input[K, V]{key, task})
}

// Demand is a task's way to its inputs. It is valid until the task returns and
// may be used by several goroutines of the task.
type Demand[K comparable, V any] struct {
	s    *Scheduler[K, V]
	call *call[K, V]
}

// Get returns the value of another key, as [Scheduler.Do] does. ctx is the
// task's context or one made from it.
//
// Errors: those of Do, and [*CycleError] when key is waiting for this task.
func (d *Demand[K, V]) Get(ctx context.Context, key K, task Task[K, V]) (V, error) {
	return d.s.demand(ctx, d.call, Input[K, V]{key, task})
}

// All demands all inputs at once and returns their values in the same order.
//
// When one fails the demands for the others are withdrawn, so that a failure
// is not held back by a long evaluation beside it. The error is that of the
// first input, in the order of the arguments, that failed by itself.
func (d *Demand[K, V]) All(ctx context.Context, inputs ...Input[K, V]) ([]V, error) {
	values := make([]V, len(inputs))
	errs := make([]error, len(inputs))
	panics := make([]*PanicError, len(inputs))
	// One of its own for each call: the context may itself have been ended by
	// an All further out, whose withdrawal must not pass for ours.
	withdrawn := fmt.Errorf("dag: an input beside this one failed: %w", context.Canceled)
	inner, withdraw := context.WithCancelCause(ctx)
	defer withdraw(nil)
	var wg sync.WaitGroup
	for i, in := range inputs {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panics[i] = asPanicError(p)
					withdraw(withdrawn)
				}
			}()
			if values[i], errs[i] = d.s.demand(inner, d.call, in); errs[i] != nil {
				withdraw(withdrawn)
			}
		})
	}
	wg.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
	for _, err := range errs {
		if err != nil && err != withdrawn {
			return nil, err
		}
	}
	return values, nil
}

// Work runs f while holding one of the Scheduler's slots, for which it waits in
// line. Inside f a task must not wait for other keys, nor call Work again: all
// slots may be held by tasks that do so.
//
// Errors: the cause of ctx when it ends before a slot is free, and f has then
// not run; otherwise that of f.
func (d *Demand[K, V]) Work(ctx context.Context, f func(ctx context.Context) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case d.s.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-d.s.slots }()
	return f(ctx)
}
