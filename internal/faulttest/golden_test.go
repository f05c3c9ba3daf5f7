//go:build linux

package faulttest_test

import "testing"

// The controls of everything else: undisturbed, each graph has the same digest in a cache of its own and in one that has all
// others, runs something the first time and nothing the second, and leaves nothing.
func testUndisturbed(t *testing.T, w *world) {
	o := &order{World: w, Cache: w.in("cache")}
	for _, g := range w.graphs() {
		for v := range 2 {
			o.Builds = append(o.Builds, wanted{g, v})
		}
	}
	for range 2 {
		got, err := o.run(t)
		w.want(t, o, got, err)
		w.wantNoProcess(t)
		w.wantNoMount(t)
		w.wantEmptyTemp(t)
		w.wantTidy(t, o.Cache)
		for _, a := range got {
			t.Logf("%-10s ran %2d, %4d events, %v", a.wanted, a.Ran, a.Events, a.Took)
		}
	}
}
