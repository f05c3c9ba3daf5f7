package dag_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stagewright/stagewright/internal/dag"
)

func TestWaiterLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dag.New[string, int](1)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		release := make(chan struct{})
		var wg sync.WaitGroup
		left := make(chan error, 1)
		wg.Go(func() {
			_, err := s.Do(ctx, "k", func(ctx context.Context, _ *demand) (int, error) {
				select {
				case <-release:
					return 1, nil
				case <-ctx.Done():
					return 0, errors.New("cancelled though somebody still waits")
				}
			})
			left <- err
		})
		synctest.Wait()
		wg.Go(func() {
			if v, err := s.Do(t.Context(), "k", nil); v != 1 || err != nil {
				t.Errorf("the waiter that stayed: %d, %v", v, err)
			}
		})
		synctest.Wait()
		cancel(gone) // the one who started it
		if err := <-left; err != gone {
			t.Errorf("the waiter that left: %v, want its cause", err)
		}
		synctest.Wait()
		close(release)
		wg.Wait()
	})
}

func TestLastWaiterLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dag.New[string, int](1)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		var ended, runs atomic.Int32
		slow := make(chan struct{})
		work := func(ctx context.Context, _ *demand) (int, error) {
			if runs.Add(1) > 1 {
				if ended.Load() == 0 {
					t.Error("two evaluations of one key at once")
				}
				return 5, nil
			}
			<-ctx.Done()
			if context.Cause(ctx) != gone {
				t.Errorf("the task's cause is %v", context.Cause(ctx))
			}
			<-slow
			ended.Add(1)
			return 0, context.Cause(ctx)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := s.Do(ctx, "k", work); err != gone {
					t.Errorf("error %v, want the cause", err)
				}
				// The one that was not the last may be back before the task is.
			})
		}
		synctest.Wait()
		cancel(gone)
		synctest.Wait()
		// It is ending. Somebody who comes now gets a fresh evaluation, later.
		wg.Go(func() {
			if v, err := s.Do(t.Context(), "k", work); v != 5 || err != nil {
				t.Errorf("asked again: %d, %v", v, err)
			}
		})
		// And somebody who comes and does not wait for that leaves at once.
		early, stop := context.WithCancel(t.Context())
		stop()
		if _, err := s.Do(early, "k", work); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}
		synctest.Wait()
		close(slow)
		wg.Wait()
		if runs.Load() != 2 {
			t.Errorf("%d runs, want 2", runs.Load())
		}
	})
}

// What is cancelled at the top ends down to the leaves before Do returns, and
// no goroutine is left: synctest.Test itself fails on one that stays blocked.
func TestCancelTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dag.New[string, int](1)
		ctx, cancel := context.WithCancel(t.Context())
		var began, ended atomic.Int32
		leaf := func(ctx context.Context, _ *demand) (int, error) {
			began.Add(1)
			defer ended.Add(1)
			<-ctx.Done()
			return 0, ctx.Err()
		}
		middle := func(ctx context.Context, d *demand) (int, error) {
			defer ended.Add(1)
			began.Add(1)
			_, err := d.All(ctx, input{"l1", leaf}, input{"l2", leaf}, input{"l3", leaf})
			return 0, err
		}
		go func() { synctest.Wait(); cancel() }()
		_, err := s.Do(ctx, "top", func(ctx context.Context, d *demand) (int, error) {
			_, err := d.All(ctx, input{"m1", middle}, input{"m2", middle})
			return 0, err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if began.Load() != 5 || ended.Load() != 5 {
			t.Errorf("%d tasks began and %d had ended when Do returned, want 5 and 5", began.Load(), ended.Load())
		}
	})
}

func TestCancelledBefore(t *testing.T) {
	s := dag.New[string, int](1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var ran atomic.Int32
	if _, err := s.Do(ctx, "k", untilCancelled(&ran)); !errors.Is(err, context.Canceled) || ran.Load() != 0 {
		t.Errorf("error %v, %d runs", err, ran.Load())
	}
}

func TestContextValues(t *testing.T) {
	type name struct{}
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), name{}, "v"), 1<<40)
	defer cancel()
	dag.New[string, int](1).Do(ctx, "k", func(ctx context.Context, _ *demand) (int, error) {
		if ctx.Value(name{}) != "v" {
			t.Error("the caller's values are lost")
		}
		if _, ok := ctx.Deadline(); ok {
			t.Error("the first caller's deadline binds the others")
		}
		return 0, nil
	})
}

func TestCycle(t *testing.T) {
	s := dag.New[string, int](1)
	next := map[string]string{"a": "b", "b": "c", "c": "b"}
	var node func(k string) task
	node = func(k string) task {
		return func(ctx context.Context, d *demand) (int, error) { return d.Get(ctx, next[k], node(next[k])) }
	}
	_, err := s.Do(t.Context(), "a", node("a"))
	var cycle *dag.CycleError[string]
	if !errors.As(err, &cycle) || !slices.Equal(cycle.Keys, []string{"b", "c"}) || err.Error() != "dag: cycle: b -> c -> b" {
		t.Errorf("error %v", err)
	}
	_, err = s.Do(t.Context(), "self", func(ctx context.Context, d *demand) (int, error) {
		return d.Get(ctx, "self", value(1))
	})
	if !errors.As(err, &cycle) || !slices.Equal(cycle.Keys, []string{"self"}) {
		t.Errorf("error %v", err)
	}
}

// Two tasks that start side by side and then want each other.
func TestCycleMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dag.New[string, int](1)
		both := make(chan struct{})
		wants := func(other string) task {
			return func(ctx context.Context, d *demand) (int, error) {
				<-both
				return d.Get(ctx, other, value(0))
			}
		}
		go func() { synctest.Wait(); close(both) }()
		_, err := s.Do(t.Context(), "top", func(ctx context.Context, d *demand) (int, error) {
			_, err := d.All(ctx, input{"x", wants("y")}, input{"y", wants("x")})
			return 0, err
		})
		var cycle *dag.CycleError[string]
		if !errors.As(err, &cycle) || len(cycle.Keys) != 2 {
			t.Errorf("error %v, want a cycle of two", err)
		}
	})
}

func TestPanic(t *testing.T) {
	s := dag.New[string, int](1)
	boom := errors.New("boom")
	for range 2 { // kept like any other outcome
		func() {
			defer func() {
				p, ok := recover().(*dag.PanicError)
				if !ok || p.Value != boom || !errors.Is(p, boom) || !strings.Contains(p.Error(), "TestPanic") {
					t.Errorf("recovered %v, want the panic of the leaf with its stack", p)
				}
			}()
			s.Do(t.Context(), "top", func(ctx context.Context, d *demand) (int, error) {
				_, err := d.All(ctx, input{"a", value(1)}, input{"b", func(context.Context, *demand) (int, error) { panic(boom) }})
				return 0, err
			})
			t.Error("Do returned")
		}()
	}
}

func TestPanicWhileEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { synctest.Wait(); cancel() }()
		defer func() {
			if p, ok := recover().(*dag.PanicError); !ok || p.Value != "late" {
				t.Errorf("recovered %v, want the panic", p)
			}
		}()
		dag.New[string, int](1).Do(ctx, "k", func(ctx context.Context, _ *demand) (int, error) {
			<-ctx.Done()
			panic("late")
		})
	})
}

func TestGoexit(t *testing.T) {
	_, err := dag.New[string, int](1).Do(t.Context(), "k", func(context.Context, *demand) (int, error) {
		runtime.Goexit()
		return 0, nil
	})
	if !errors.Is(err, dag.ErrGoexit) {
		t.Errorf("error %v", err)
	}
}

// Waiters that come and go at random, under the race detector.
func TestChurn(t *testing.T) {
	s := dag.New[int, int](3)
	var active [10]atomic.Int32
	var node func(k int) dag.Task[int, int]
	node = func(k int) dag.Task[int, int] {
		return func(ctx context.Context, d *dag.Demand[int, int]) (int, error) {
			if active[k].Add(1) != 1 {
				t.Errorf("two evaluations of %d at once", k)
			}
			defer active[k].Add(-1)
			var below []dag.Input[int, int]
			for b := range k {
				below = append(below, dag.Input[int, int]{Key: b, Task: node(b)})
			}
			if _, err := d.All(ctx, below...); err != nil {
				return 0, err
			}
			return k, d.Work(ctx, func(ctx context.Context) error {
				for range 100 {
					runtime.Gosched()
				}
				return context.Cause(ctx)
			})
		}
	}
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for range w * 20 {
					runtime.Gosched()
				}
				if w%5 != 0 {
					cancel()
				}
			}()
			k := w % 10
			v, err := s.Do(ctx, k, node(k))
			if err == nil && v != k || err != nil && (w%5 == 0 || !errors.Is(err, context.Canceled)) {
				t.Errorf("key %d: %d, %v", k, v, err)
			}
		})
	}
	wg.Wait()
}
