package dag_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stagewright/stagewright/internal/dag"
)

type (
	demand = dag.Demand[string, int]
	task   = dag.Task[string, int]
	input  = dag.Input[string, int]
)

func value(v int) task {
	return func(context.Context, *demand) (int, error) { return v, nil }
}

func failure(err error) task {
	return func(context.Context, *demand) (int, error) { return 0, err }
}

// untilCancelled notes in ran that it began, and returns when nobody wants it.
func untilCancelled(ran *atomic.Int32) task {
	return func(ctx context.Context, _ *demand) (int, error) {
		ran.Add(1)
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
}

// Every key of a wide and deep graph is evaluated once, and only those wanted.
func TestOncePerKey(t *testing.T) {
	const layers, width = 20, 10
	var runs [layers][width]atomic.Int32
	s := dag.New[[2]int, int](2)
	var node func(l, w int) dag.Input[[2]int, int]
	node = func(l, w int) dag.Input[[2]int, int] {
		return dag.Input[[2]int, int]{Key: [2]int{l, w}, Task: func(ctx context.Context, d *dag.Demand[[2]int, int]) (int, error) {
			runs[l][w].Add(1)
			if l == 0 {
				return 1, nil
			}
			var below []dag.Input[[2]int, int]
			for x := range width - 1 { // the last of each layer is wanted by nobody
				below = append(below, node(l-1, x))
			}
			values, err := d.All(ctx, below...)
			if err != nil {
				return 0, err
			}
			return slices.Max(values) + 1, nil
		}}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			top := node(layers-1, 0)
			if got, err := s.Do(t.Context(), top.Key, top.Task); got != layers || err != nil {
				t.Errorf("got %d, %v; want %d", got, err, layers)
			}
		})
	}
	wg.Wait()
	for l := range layers {
		for w := range width {
			want := int32(1)
			if w == width-1 || l == layers-1 && w > 0 {
				want = 0
			}
			if got := runs[l][w].Load(); got != want {
				t.Errorf("node %d %d ran %d times, want %d", l, w, got, want)
			}
		}
	}
}

func TestDeepChain(t *testing.T) {
	const depth = 10_000
	s := dag.New[int, int](1)
	var link func(n int) dag.Task[int, int]
	link = func(n int) dag.Task[int, int] {
		return func(ctx context.Context, d *dag.Demand[int, int]) (int, error) {
			if n == 0 {
				return 0, nil
			}
			v, err := d.Get(ctx, n-1, link(n-1))
			return v + 1, err
		}
	}
	if got, err := s.Do(t.Context(), depth, link(depth)); got != depth || err != nil {
		t.Errorf("%d, %v", got, err)
	}
}

// At most limit Work sections run at once, and tasks that wait use none.
func TestWorkLimit(t *testing.T) {
	for _, limit := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			s := dag.New[string, int](limit)
			var running, most, done atomic.Int32
			release := make(chan struct{})
			leaf := func(ctx context.Context, d *demand) (int, error) {
				return 1, d.Work(ctx, func(context.Context) error {
					most.Store(max(most.Load(), running.Add(1)))
					<-release
					running.Add(-1)
					done.Add(1)
					return nil
				})
			}
			var inputs []input
			for i := range 10 {
				// Each leaf under a task that waits for it.
				inputs = append(inputs, input{fmt.Sprint("wait", i), func(ctx context.Context, d *demand) (int, error) {
					return d.Get(ctx, fmt.Sprint("leaf", i), leaf)
				}})
			}
			go func() {
				for range 10 {
					synctest.Wait() // all that can run is running
					if got := running.Load(); got != min(int32(limit), 10-done.Load()) {
						t.Errorf("limit %d: %d sections run", limit, got)
					}
					release <- struct{}{}
				}
			}()
			_, err := s.Do(t.Context(), "top", func(ctx context.Context, d *demand) (int, error) {
				_, err := d.All(ctx, inputs...)
				return 0, err
			})
			if err != nil || done.Load() != 10 || most.Load() != int32(limit) {
				t.Errorf("limit %d: %d done, at most %d at once, %v", limit, done.Load(), most.Load(), err)
			}
		})
	}
}

func TestWorkCancelledBeforeSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dag.New[string, int](1)
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			s.Do(t.Context(), "holder", func(ctx context.Context, d *demand) (int, error) {
				return 0, d.Work(ctx, func(context.Context) error { <-release; return nil })
			})
		})
		synctest.Wait()
		wg.Go(func() {
			_, err := s.Do(ctx, "late", func(ctx context.Context, d *demand) (int, error) {
				return 0, d.Work(ctx, func(context.Context) error {
					t.Error("ran without a slot")
					return nil
				})
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
	})
}

func TestNewLimitDefault(t *testing.T) {
	for _, limit := range []int{0, -1} {
		synctest.Test(t, func(t *testing.T) {
			s := dag.New[string, int](limit)
			var running atomic.Int32
			release := make(chan struct{})
			var wg sync.WaitGroup
			for i := range runtime.GOMAXPROCS(0) + 3 {
				wg.Go(func() {
					s.Do(t.Context(), fmt.Sprint(i), func(ctx context.Context, d *demand) (int, error) {
						return 0, d.Work(ctx, func(context.Context) error { running.Add(1); <-release; return nil })
					})
				})
			}
			synctest.Wait()
			if got := running.Load(); got != int32(runtime.GOMAXPROCS(0)) {
				t.Errorf("limit %d: %d at once, want GOMAXPROCS", limit, got)
			}
			close(release)
			wg.Wait()
		})
	}
}

func TestFailureReachesAllAndIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dag.New[string, int](1)
		boom := errors.New("boom")
		var runs int
		release := make(chan struct{})
		failing := func(context.Context, *demand) (int, error) {
			runs++
			<-release
			return 7, boom
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if v, err := s.Do(t.Context(), "k", failing); err != boom || v != 0 {
					t.Errorf("%d, %v; want 0, boom", v, err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if _, err := s.Do(t.Context(), "k", value(1)); err != boom {
			t.Errorf("asked again: %v, want boom", err)
		}
		if runs != 1 {
			t.Errorf("ran %d times", runs)
		}
	})
}

// A demand beside a failed one is withdrawn, and the failure is reported though
// another input comes first.
func TestAllFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dag.New[string, int](1)
		one := errors.New("one")
		gate := make(chan struct{})
		var began, ended atomic.Int32
		gated := func(err error) task {
			return func(context.Context, *demand) (int, error) { <-gate; return 0, err }
		}
		long := func(ctx context.Context, d *demand) (int, error) {
			defer ended.Add(1)
			// Deeper down, to see that an outer withdrawal is not taken for a
			// success by an All within.
			_, err := d.All(ctx, input{"deep", untilCancelled(&began)}, input{"good", value(1)})
			if err == nil {
				t.Error("an All that was withdrawn from outside returned no error")
			}
			return 0, err
		}
		go func() { synctest.Wait(); close(gate) }() // all have begun
		_, err := s.Do(t.Context(), "top", func(ctx context.Context, d *demand) (int, error) {
			values, err := d.All(ctx, input{"long", long}, input{"b", gated(one)})
			if values != nil {
				t.Errorf("values %v beside an error", values)
			}
			return 0, err
		})
		if err != one || began.Load() != 1 || ended.Load() != 1 {
			t.Errorf("error %v, long task began %d and ended %d times", err, began.Load(), ended.Load())
		}
	})
}

// When several inputs have failed already, the first by order is reported,
// however the goroutines run.
func TestAllFailureOrder(t *testing.T) {
	for range 100 {
		s := dag.New[string, int](1)
		var errs []error
		var inputs []input
		for i := range 5 {
			errs = append(errs, fmt.Errorf("error %d", i))
			key := fmt.Sprint(i)
			s.Do(t.Context(), key, failure(errs[i]))
			inputs = append(inputs, input{key, nil})
		}
		_, err := s.Do(t.Context(), "top", func(ctx context.Context, d *demand) (int, error) {
			_, err := d.All(ctx, inputs...)
			return 0, err
		})
		if err != errs[0] {
			t.Fatalf("got %v, want %v", err, errs[0])
		}
	}
}

func TestAllNothing(t *testing.T) {
	s := dag.New[string, int](1)
	_, err := s.Do(t.Context(), "top", func(ctx context.Context, d *demand) (int, error) {
		values, err := d.All(ctx)
		if len(values) != 0 {
			t.Errorf("values %v", values)
		}
		return 0, err
	})
	if err != nil {
		t.Error(err)
	}
}
