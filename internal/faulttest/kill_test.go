//go:build linux

package faulttest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// life is a cache directory that builds are killed in, until it is replaced.
type life struct {
	*world
	cache string
	warm  bool
	took  [2]map[string]time.Duration // of each graph: how long its process lives, cold and warm
	kills struct{ Cold, Warm, ByEvent, ByClock, Late, Collecting int }
}

// A building process is killed at any moment of its life, over and over in one cache and beside others: what builds next builds as if
// nothing had been, and afterwards nothing is left of the dead.
func testKilled(t *testing.T, w *world) {
	r := chance(0)
	l := &life{world: w}
	l.measure(t)
	began, killed := time.Now(), 0
	for budget(t, began, killed) && killed < *moments {
		l.renew(t, r, killed)
		var builds []wanted
		for range 1 + r.IntN(4) {
			n := l.pick(r)
			killed += l.kill(t, r, n)
			builds, l.warm = append(builds, n), true
		}
		l.check(t, append(builds, l.pick(r)))
		if *soak && killed%100 < 3 {
			t.Logf("%d killed in %v: %+v", killed, time.Since(began).Round(time.Second), l.kills)
		}
	}
	t.Logf("%d builds killed in %v: %+v", killed, time.Since(began).Round(time.Second), l.kills)
}

// measure builds each graph once, so that kills can be spread over all of it.
func (l *life) measure(t *testing.T) {
	l.took = [2]map[string]time.Duration{{}, {}}
	for _, g := range l.graphs() {
		l.goldenOf(t, wanted{g, 0})
		l.took[0][g] = l.cold[g] + 30*time.Millisecond // for its start and its end
		l.took[1][g] = l.took[0][g] / 2
	}
	t.Logf("builds take %v", l.took[0])
}

// temperature is the index of took.
func (l *life) temperature() int {
	if l.warm {
		return 1
	}
	return 0
}

// renew puts another cache in the place of this one from time to time, or takes from it what a collector or a user might.
func (l *life) renew(t *testing.T, r *rand.Rand, n int) {
	t.Helper()
	switch x := r.IntN(10); {
	case l.cache == "" || x < 3:
		if l.cache != "" {
			if err := os.RemoveAll(l.cache); err != nil {
				t.Fatal(err)
			}
		}
		l.cache = l.in(fmt.Sprintf("cache-%d", n))
		l.warm = false
		l.kills.Cold++
	case x < 7:
		evict(t, l.cache, r, []string{"records", "blobs", "private/snapshots"}[r.IntN(3)], 0.5)
		l.kills.Warm++
	default:
		l.kills.Warm++
	}
}

// evict removes a part of the files below a directory of the cache, as anybody may at any time.
func evict(t *testing.T, cache string, r *rand.Rand, below string, part float64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(cache, below), func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // there is no such directory yet
		case e.IsDir() && filepath.Base(filepath.Dir(p)) == "layers":
			if r.Float64() < part {
				_ = os.RemoveAll(p)
			}
			return fs.SkipDir
		case !e.IsDir() && !strings.HasPrefix(below, "private") && r.Float64() < part:
			return os.Remove(p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pick chooses what to build.
func (l *life) pick(r *rand.Rand) wanted {
	names := l.graphs()
	return wanted{names[r.IntN(len(names))], r.IntN(variants)}
}

// kill begins a build, at times with another process beside it that builds the like, and kills it. It returns 1 when it was alive by then.
func (l *life) kill(t *testing.T, r *rand.Rand, n wanted) int {
	t.Helper()
	o := &order{World: l.world, Cache: l.cache, Builds: []wanted{n}}
	var moment time.Duration
	if r.IntN(3) == 0 {
		o.KillAt = 1 + r.IntN(24)
	} else {
		moment = time.Duration(r.Float64() * 1.1 * float64(l.took[l.temperature()][n.Graph]))
	}
	beside := make(chan func(), 1)
	switch r.IntN(8) {
	case 0:
		stop := l.collectBeside(t, r)
		beside <- func() { stop(t); l.kills.Collecting++ }
	case 1, 2:
		other := &order{World: l.world, Cache: l.cache, Builds: []wanted{{n.Graph, r.IntN(variants)}}}
		go func() {
			got, err := other.run(t)
			beside <- func() { l.want(t, other, got, err) }
		}()
	default:
		beside <- func() {}
	}
	began := time.Now()
	c := o.start(t)
	if o.KillAt == 0 {
		defer time.AfterFunc(moment, func() { _ = c.cmd.Process.Kill() }).Stop()
	}
	err := c.wait(o.bound())
	(<-beside)()
	if hung := (*hungError)(nil); errors.As(err, &hung) {
		t.Fatal(hung)
	}
	if status := c.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() && status.Signal() == syscall.SIGKILL {
		if o.KillAt > 0 {
			l.kills.ByEvent++
		} else {
			l.kills.ByClock++
		}
		return 1
	}
	// It was done before its time had come; then it is as good as any.
	l.kills.Late++
	took := l.took[l.temperature()]
	took[n.Graph] = (took[n.Graph] + time.Since(began)) / 2
	if text := c.errs.String(); text != "" {
		err = fmt.Errorf("%v\n%s", err, tail(text))
	}
	l.want(t, o, answers(c.out.String()), err)
	return 0
}

// collectBeside begins to collect, and returns a function that kills the collector.
func (w *life) collectBeside(t *testing.T, r *rand.Rand) (kill func(*testing.T)) {
	t.Helper()
	p := []cache.Policy{{All: true}, {MaxBytes: 1 << 20}, {MaxAge: time.Millisecond}}[r.IntN(3)]
	c := startCollector(t, w.world, w.cache, p, "")
	return func(t *testing.T) {
		_ = c.cmd.Process.Kill()
		c.stop(t)
	}
}

// check builds in the cache and looks for what the dead have left.
func (l *life) check(t *testing.T, builds []wanted) {
	t.Helper()
	l.wantNoProcess(t)
	l.wantNoMount(t)
	o := &order{World: l.world, Cache: l.cache, Builds: builds}
	got, err := o.run(t)
	l.want(t, o, got, err)
	l.wantNoProcess(t)
	l.wantTidy(t, l.cache)
	l.wantEmptyTemp(t)
}
