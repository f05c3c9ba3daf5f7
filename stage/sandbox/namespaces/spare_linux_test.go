package namespaces

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/arch"
	"github.com/stagewright/stagewright/platform"
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

// TestAhead: a root whose system directories were mounted ahead is the same as one where they were mounted for it, whatever the
// step before had.
func TestAhead(t *testing.T) {
	lower := sandboxtest.Lower(t)
	features := []sandbox.Features{0, sandbox.FeatureAll}
	networks := []sandbox.Network{sandbox.NetworkHost, sandbox.NetworkNone}
	r := New(Options{})
	if err := r.Probe(t.Context()); err != nil {
		t.Skip(err)
	}
	mounts := func(r *Runner, f sandbox.Features, n sandbox.Network) string {
		t.Helper()
		var out strings.Builder
		s := &sandbox.Spec{
			Root: sandbox.Root{Lowers: []string{lower}}, Args: []string{sandboxtest.Prober, "read", "/proc/self/mountinfo"},
			Features: f, Network: n, Hostname: "named", Stdout: &out,
		}
		if st, err := r.Run(t.Context(), s); err != nil || st.Code != 0 {
			t.Fatal(st, err)
		}
		return withoutNumbers(out.String())
	}
	for _, f := range features {
		for _, n := range networks {
			want := mounts(New(Options{}), f, n)
			mounts(r, f, n) // whatever waits, what is started now is for the like
			waiting := spareOf(t, r)
			waiting.expiry.Stop() // a machine with much to do takes its time
			if got := mounts(r, f, n); got != want {
				t.Errorf("features %v, network %v: ahead\n%s\nat once\n%s", f, n, got, want)
			}
			wantGone(t, waiting.helper)
		}
	}
	r.spares.expire(spareOf(t, r))
}

// withoutNumbers takes from a mountinfo the numbers of mounts, devices and descriptors, which are of that one sandbox, and the order, which says
// when each was made.
func withoutNumbers(info string) string {
	lines := strings.Split(strings.TrimSpace(info), "\n")
	for i, l := range lines {
		fields := strings.Fields(l)[3:]
		if slices.Contains(fields, "overlay") {
			fields = fields[:3]
		}
		lines[i] = strings.Join(fields, " ")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestNoSpareWithRoot: a step that is given its root neither uses up the helper of the next one nor has one started.
func TestNoSpareWithRoot(t *testing.T) {
	emulator, err := exec.LookPath("qemu-s390x-static")
	if err != nil || !thisMachine().privileged {
		t.Skip("needs root, and an emulator; apt-get install qemu-user-static")
	}
	r := New(Options{})
	p, emulators := platform.MustParse("linux/s390x"), map[string]string{"s390x": emulator}
	if err := r.CheckPlatform(t.Context(), p, emulators); err != nil {
		t.Skip(err)
	}
	run := func(p platform.Platform) {
		t.Helper()
		spec := &sandbox.Spec{
			Root: sandbox.Root{Lowers: []string{t.TempDir()}}, Args: []string{"/program"}, Platform: p, Emulators: emulators,
			Mounts: []sandbox.Mount{{Type: sandbox.MountFile, Target: "/program", Data: arch.Program(p.Architecture), Mode: 0o755}},
		}
		if st, err := r.Run(t.Context(), spec); err != nil || st.Code != arch.ProgramStatus {
			t.Fatal(st, err)
		}
	}
	run(p)
	if r.spares.next != nil {
		t.Error("a helper was started ahead that no step can use")
	}
	run(platform.Platform{OS: "linux", Architecture: runtime.GOARCH})
	first := spareOf(t, r)
	first.expiry.Stop() // a machine with much to do takes its time
	defer r.spares.expire(first)
	run(p)
	if spareOf(t, r) != first {
		t.Error("the helper of the next step is another one")
	}
}
