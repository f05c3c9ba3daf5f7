//go:build linux

package faulttest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A child that never ends, or that starts far too much, costs the test its success and not the machine: it is told with its stacks,
// and all that it has started is gone.
func TestHang(t *testing.T) {
	w := &world{Dir: t.TempDir(), shared: &shared{family: newFamily()}}
	for _, c := range []struct {
		name  string
		order order
		wrap  []string
		bound time.Duration
		why   string
	}{
		{name: "silent", order: order{Stall: 3}, bound: time.Second, why: "it has not ended in 1s"},
		{name: "traced", order: order{Stall: 3}, bound: time.Second, why: "it has not ended in 1s", wrap: []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync"}},
		{name: "crowded", order: order{Stall: crowded}, bound: time.Hour, why: "processes by now"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.wrap != nil {
				needsStrace(t)
			}
			c.order.World = w
			beside := (&order{World: w, Stall: 1}).start(t)
			child := c.order.start(t, c.wrap...)
			stalls(t, beside, 2)
			if c.order.Stall < crowded {
				stalls(t, child, 1+len(c.wrap[:min(1, len(c.wrap))])+c.order.Stall)
			}
			var hung *hungError
			if err := child.wait(c.bound); !errors.As(err, &hung) {
				t.Fatalf("it ended with %v", err)
			}
			if !strings.Contains(hung.why, c.why) || strings.Contains(hung.why, "there even") || !strings.Contains(hung.stacks, "(*order).stall") {
				t.Errorf("%v", hung)
			}
			if left := w.family.leftOver(); len(left) > 0 {
				t.Errorf("processes are left: %+v", left)
			}
			if n := len(beside.tree()); n == 0 {
				t.Error("what it had nothing to do with was killed, too")
			}
			_ = beside.wait(0)
			if left := below(unix.Getpid(), nil); len(left) > 0 {
				t.Errorf("processes are left: %+v", left)
			}
		})
	}
}

// stalls waits until a child and what it has started are so many: however busy the machine is, it is within (*order).stall then.
func stalls(t *testing.T, c *child, processes int) {
	t.Helper()
	for until := time.Now().Add(*hang); len(c.tree()) < processes; time.Sleep(2 * time.Millisecond) { // nobody tells when a child of a child begins
		if time.Now().After(until) {
			t.Fatalf("%d processes after %v, want %d", len(c.tree()), *hang, processes)
		}
	}
}
