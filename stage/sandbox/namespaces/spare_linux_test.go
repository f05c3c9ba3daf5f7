package namespaces

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/sandboxtest"
)

// spareOf returns what waits for the next step.
func spareOf(t *testing.T, r *Runner) *spare {
	t.Helper()
	r.spares.mu.Lock()
	defer r.spares.mu.Unlock()
	if r.spares.next == nil {
		t.Fatal("no helper was started ahead")
	}
	<-r.spares.next.made
	if r.spares.next.helper == nil {
		t.Fatal("the helper ahead could not be started")
	}
	return r.spares.next
}

// wantGone expects the process of a helper to have been waited for.
func wantGone(t *testing.T, h *helper) {
	t.Helper()
	select {
	case <-h.gone:
	default:
		t.Error("nobody has waited for a helper")
	}
	if err := h.proc.Signal(unix.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a helper is left: %v", err)
	}
}

func TestSpare(t *testing.T) {
	lower := sandboxtest.Lower(t)
	r := New(Options{})
	if err := r.Probe(t.Context()); err != nil {
		t.Skip(err)
	}
	if r.spares.next != nil {
		t.Error("a helper was started before the first step")
	}
	run := func(change func(*sandbox.Spec)) {
		t.Helper()
		s := &sandbox.Spec{Root: sandbox.Root{Lowers: []string{lower}}, Args: []string{sandboxtest.Prober, "exit", "3"}}
		change(s)
		if st, err := r.Run(t.Context(), s); err != nil || st.Code != 3 {
			t.Fatal(st, err)
		}
	}
	like := func(*sandbox.Spec) {}
	run(like)
	first := spareOf(t, r).helper
	run(like)
	if state := first.proc; state == nil || first.report == nil {
		t.Fatal("the helper has no process")
	}
	wantGone(t, first)
	second := spareOf(t, r)
	if second.helper == first {
		t.Fatal("a helper was used twice")
	}

	// One that was started for something else is ended.
	run(func(s *sandbox.Spec) { s.Network = sandbox.NetworkNone })
	wantGone(t, second.helper)

	// So is one that something happened to.
	third := spareOf(t, r)
	if err := third.helper.proc.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := third.helper.report.Read(make([]byte, 1)); err == nil {
		t.Fatal("a helper that was not asked has reported")
	}
	run(func(s *sandbox.Spec) { s.Network = sandbox.NetworkNone })
	wantGone(t, third.helper)

	// And one that nobody needs.
	last := spareOf(t, r)
	r.spares.expire(last)
	wantGone(t, last.helper)
	if r.spares.next != nil {
		t.Error("a helper that has ended still waits")
	}
	run(like)
	r.spares.expire(spareOf(t, r))
}
