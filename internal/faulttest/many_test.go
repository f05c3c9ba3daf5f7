//go:build linux

package faulttest_test

import (
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// crowd is several processes that build in one cache, each its own choice of the same images.
type crowd struct {
	*world
	cache  string
	books  books
	orders []*order
}

// newCrowd leaves to chance who builds what. That each graph is built by somebody is not.
func newCrowd(t *testing.T, w *world) *crowd {
	t.Helper()
	processes, each := 4, 6
	if *soak {
		processes, each = 8, 50
	}
	r, c := chance(0), &crowd{world: w, cache: w.in("cache"), books: books(w.in("books"))}
	names := w.graphs()
	for p := range processes {
		o := &order{World: w, Cache: c.cache, Books: c.books}
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
	count := map[string]int{}
	for _, d := range c.books.read(t) {
		if d.Kind == "executed" {
			count[d.Name]++
		}
	}
	return count
}

// distinct returns what must be executed for all builds together, as one process alone does it.
func (c *crowd) distinct(t *testing.T) []string {
	t.Helper()
	alone := &crowd{world: c.world, cache: c.in("alone"), books: books(c.in("alone-books"))}
	o := &order{World: c.world, Cache: alone.cache, Books: alone.books}
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

// collector is a process that collects over and over.
type collector struct {
	*child
	in io.Closer
}

func startCollector(t *testing.T, w *world, dir string, p cache.Policy, b books) *collector {
	t.Helper()
	o := &order{World: w, Cache: dir, Collect: &p, Books: b}
	cmd := o.command(t)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return &collector{w.family.start(t, cmd, o.String()), in}
}

// stop ends it, and returns how often it collected, and how many entries it removed.
func (c *collector) stop(t *testing.T) (collections, removed int) {
	t.Helper()
	c.in.Close()
	if hung := (*hungError)(nil); errors.As(c.wait(*hang), &hung) { // else it may have been killed
		t.Error(hung)
	}
	for _, a := range answers(c.out.String()) {
		if a.Err != "" {
			t.Errorf("collecting: %s", a.Err)
		}
		collections++
		removed += a.Removed
	}
	if text := c.errs.String(); text != "" {
		t.Errorf("the collector wrote\n%s", tail(text))
	}
	return collections, removed
}

// Processes that build overlapping graphs in one cache execute each distinct step once between them, while another collects by a
// policy that keeps what they use.
func testCrowd(t *testing.T, w *world) {
	c := newCrowd(t, w)
	gc := startCollector(t, w, c.cache, cache.Policy{MaxAge: time.Hour, MaxBytes: 1 << 40, MinFree: 1}, c.books)
	c.build(t)
	collections, removed := gc.stop(t)
	count := c.executed(t)
	for what, n := range count {
		if n != 1 {
			t.Errorf("executed %d times: %q", n, what)
		}
	}
	if want := c.distinct(t); !slices.Equal(slices.Sorted(maps.Keys(count)), want) {
		t.Errorf("executed %d distinct steps; one process alone executes %d", len(count), len(want))
	}
	if removed != 0 {
		t.Errorf("%d entries were removed; the policy keeps all", removed)
	}
	t.Logf("%d processes, %d builds each, %d distinct steps executed, %d collections", len(c.orders), len(c.orders[0].Builds), len(count), collections)
	c.wantNothingLeft(t)
}

// The same by a policy that evicts what no build is about to use: what is executed more than once is what was evicted, and asked for again.
func testCrowdEvicted(t *testing.T, w *world) {
	c := newCrowd(t, w)
	gc := startCollector(t, w, c.cache, cache.Policy{All: true}, c.books)
	c.build(t)
	collections, removed := gc.stop(t)
	if want := c.distinct(t); !slices.Equal(slices.Sorted(maps.Keys(c.executed(t))), want) {
		t.Errorf("executed %d distinct steps; one process alone executes %d", len(c.executed(t)), len(want))
	}
	b := balanceOf(c.books.read(t))
	for _, wrong := range b.wrong {
		t.Error(wrong)
	}
	t.Logf("%d processes, %d builds each, %d steps executed: %d of them distinct, and %d evicted and asked for again; %d entries removed in %d collections",
		len(c.orders), len(c.orders[0].Builds), b.executed, b.distinct, b.evicted, removed, collections)
	if t.Failed() {
		t.Logf("the books are %s", c.books)
	}
	c.wantNothingLeft(t)
}

func (c *crowd) wantNothingLeft(t *testing.T) {
	t.Helper()
	c.wantNoProcess(t)
	c.wantNoMount(t)
	c.wantEmptyTemp(t)
	c.wantTidy(t, c.cache)
}
