//go:build linux

package faulttest_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// crowd is several processes that build in one cache, each its own choice of the same images.
type crowd struct {
	*world
	cache   string
	effects string
	orders  []*order
}

// newCrowd leaves to chance who builds what. That each graph is built by somebody is not.
func newCrowd(t *testing.T, w *world) *crowd {
	t.Helper()
	processes, each := 4, 6
	if *soak {
		processes, each = 8, 50
	}
	r, c := chance(t), &crowd{world: w, cache: w.in("cache"), effects: w.in("effects")}
	names := w.graphs()
	for p := range processes {
		o := &order{World: w, Cache: c.cache, Effects: c.effects}
		for i := range each {
			o.Builds = append(o.Builds, wanted{names[(p+i)%len(names)], r.IntN(variants)})
		}
		r.Shuffle(each, func(i, k int) { o.Builds[i], o.Builds[k] = o.Builds[k], o.Builds[i] })
		c.orders = append(c.orders, o)
	}
	for _, g := range names { // before the processes share the machine
		w.goldenOf(t, wanted{g, 0})
	}
	return c
}

// build has all of them build at once.
func (c *crowd) build(t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	for _, o := range c.orders {
		wg.Go(func() {
			got, err := o.run(t)
			c.want(t, o, got, err)
		})
	}
	wg.Wait()
}

// executed counts what was executed.
func (c *crowd) executed(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile(c.effects)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for line := range strings.Lines(string(text)) {
		count[strings.TrimSuffix(line, "\n")]++
	}
	return count
}

// distinct returns what must be executed for all builds together, as one process alone does it.
func (c *crowd) distinct(t *testing.T) []string {
	t.Helper()
	alone := &crowd{world: c.world, cache: c.in("alone"), effects: c.in("alone-effects")}
	o := &order{World: c.world, Cache: alone.cache, Effects: alone.effects}
	for _, other := range c.orders {
		for _, n := range other.Builds {
			if !slices.Contains(o.Builds, n) {
				o.Builds = append(o.Builds, n)
			}
		}
	}
	alone.orders = []*order{o}
	alone.build(t)
	count := alone.executed(t)
	for what, n := range count {
		if n != 1 {
			t.Errorf("one process alone executes %q %d times", what, n)
		}
	}
	return slices.Sorted(maps.Keys(count))
}

// Processes that build overlapping graphs in one cache execute each distinct step once between them.
func TestCrowd(t *testing.T) {
	w := newWorld(t)
	c := newCrowd(t, w)
	c.build(t)
	count := c.executed(t)
	for what, n := range count {
		if n != 1 {
			t.Errorf("executed %d times: %q", n, what)
		}
	}
	if want := c.distinct(t); !slices.Equal(slices.Sorted(maps.Keys(count)), want) {
		t.Errorf("executed %d distinct steps; one process alone executes %d", len(count), len(want))
	}
	t.Logf("%d processes, %d builds each, %d distinct steps executed", len(c.orders), len(c.orders[0].Builds), len(count))
	w.wantNoProcess(t)
	w.wantNoMount(t)
	w.wantEmptyTemp(t)
	w.wantTidy(t, c.cache)
}

var _ = fmt.Sprint
