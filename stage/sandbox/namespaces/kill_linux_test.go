package namespaces_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/sandbox/sandboxtest"
)

// builderEnv makes this test binary a builder that runs the Spec in it.
const builderEnv = "SANDBOX_TEST_BUILDER"

// mountEnv has the builder run the Spec, mount a filesystem on a directory, and run it again.
const mountEnv = "SANDBOX_TEST_MOUNT"

// ignoreEnv has the builder ignore all signals.
const ignoreEnv = "SANDBOX_TEST_IGNORE"

// ranEnv has this test binary say that it runs as itself.
const ranEnv = "SANDBOX_TEST_RAN"

func TestMain(m *testing.M) {
	if spec := os.Getenv(builderEnv); spec != "" {
		os.Exit(builder(spec))
	}
	if os.Getenv(ranEnv) != "" {
		fmt.Println("the host runs")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func builder(encoded string) int {
	var s sandbox.Spec
	if err := json.Unmarshal([]byte(encoded), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Stdout, s.Stderr = os.Stdout, os.Stderr
	if os.Getenv(ignoreEnv) != "" {
		for n := syscall.Signal(1); n <= 64; n++ {
			if n != syscall.SIGCHLD { // without which the kernel keeps no process to wait for
				signal.Ignore(n)
			}
		}
	}
	r := namespaces.New(namespaces.Options{})
	if dir := os.Getenv(mountEnv); dir != "" {
		if err := mountAfterRun(r, s, dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if _, err := r.Run(context.Background(), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// mountAfterRun runs a Spec without the mount that is then made.
func mountAfterRun(r *namespaces.Runner, s sandbox.Spec, dir string) error {
	s.Stdout = nil
	if _, err := r.Run(context.Background(), &s); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "file"), []byte("mounted"), 0o644)
}

// TestKilledBuilder kills a builder in the middle of a step and looks for what is left of it.
func TestKilledBuilder(t *testing.T) {
	probe(t)
	lower := sandboxtest.Lower(t)
	program, err := os.ReadFile(filepath.Join(lower, sandboxtest.Prober))
	if err != nil {
		t.Fatal(err)
	}
	suid := filepath.Join(lower, "bin/suid")
	if err := os.WriteFile(suid, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(suid, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		user   sandbox.User
		limits sandbox.Limits
	}{
		{name: "Direct", args: []string{"/bin/prober", "sleep"}},
		{name: "Background", args: []string{"/bin/prober", "nest"}},
		{name: "Limits", args: []string{"/bin/prober", "nest"}, limits: sandbox.Limits{Memory: 1 << 30, CPU: 2, Pids: 500}},
		// Executing this one clears the parent-death signal.
		{name: "Setuid", args: []string{"/bin/suid", "sleep"}, user: sandbox.User{UID: 1234, GID: 1234}},
	} {
		t.Run(c.name, func(t *testing.T) {
			marker := fmt.Sprintf("killed-%d-%s", os.Getpid(), c.name)
			s := sandbox.Spec{Root: sandbox.Root{Lowers: []string{lower}}, Args: append(c.args, marker), User: c.user, Limits: c.limits}
			if _, err := namespaces.New(namespaces.Options{}).Run(t.Context(), &sandbox.Spec{Root: s.Root, Args: []string{"/bin/prober"}, User: c.user, Limits: c.limits}); err != nil {
				t.Skip(err) // an ordinary user has no other user, and may have no control groups
			}
			killBuilder(t, &s, marker)
		})
	}
}

func killBuilder(t *testing.T, s *sandbox.Spec, marker string) {
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), builderEnv+"="+string(encoded))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatal(line, err)
	}
	if len(marked(t, marker)) == 0 {
		t.Fatal("the control sees no process while it runs")
	}
	limited := s.Limits.Memory > 0
	if limited && len(groupsOf(t, cmd.Process.Pid)) == 0 {
		t.Fatal("the control sees no control group while it runs")
	}
	// The step, the watcher, and the helper that waits for a next step: it is awaited for as long as it can live, since on a busy machine it may be
	// gone again before it is seen.
	var left []int
	for deadline := time.Now().Add(3 * time.Second); len(left) < 3 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		left = children(t, cmd.Process.Pid)
	}
	if len(left) < 2 {
		t.Fatalf("the builder has the children %v, want the step, its watcher and perhaps a helper", left)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	// The kernel and the watcher act after the builder's death, so this polls;
	// the deadline is only there to end a test that fails.
	for deadline := time.Now().Add(20 * time.Second); len(marked(t, marker)) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("processes %q outlived their builder", marked(t, marker))
		}
	}
	for deadline := time.Now().Add(20 * time.Second); limited && len(groupsOf(t, cmd.Process.Pid)) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("control groups %q outlived their builder", groupsOf(t, cmd.Process.Pid))
		}
	}
	for deadline := time.Now().Add(20 * time.Second); len(left) > 0; time.Sleep(time.Millisecond) {
		left = slices.DeleteFunc(left, func(pid int) bool { return parent(pid) == 0 })
		if time.Now().After(deadline) {
			t.Fatalf("processes %v outlived their builder", left)
		}
	}
	// Others mount things on this machine meanwhile; what a step leaves would be on its root.
	if now := mountinfo(t); strings.Contains(now, s.Root.Lowers[0]) {
		t.Errorf("a mount is left on the host:\n%s", now)
	}
}

// marked lists the processes of this machine that have marker among their
// arguments, the builder itself, which has it in the environment, excepted.
func marked(t *testing.T, marker string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range all {
		if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(marker)) {
			out = append(out, p)
		}
	}
	return out
}

// children lists the processes that pid has started.
func children(t *testing.T, pid int) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, p := range all {
		if n, err := strconv.Atoi(filepath.Base(p)); err == nil && parent(n) == pid {
			out = append(out, n)
		}
	}
	return out
}

// parent returns the parent of a process, and 0 for one that has ended.
func parent(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name in parentheses can be anything
	if f[0] == "Z" || f[0] == "X" {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

func mountinfo(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func probe(tb testing.TB) {
	tb.Helper()
	if err := namespaces.New(namespaces.Options{Dir: tb.TempDir()}).Probe(tb.Context()); err != nil {
		tb.Skip(err)
	}
}
