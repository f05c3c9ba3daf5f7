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
	"syscall"
	"testing"
	"time"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/sandbox/sandboxtest"
)

// builderEnv makes this test binary a builder that runs the Spec in it.
const builderEnv = "SANDBOX_TEST_BUILDER"

// ignoreEnv has the builder ignore all signals.
const ignoreEnv = "SANDBOX_TEST_IGNORE"

func TestMain(m *testing.M) {
	if spec := os.Getenv(builderEnv); spec != "" {
		os.Exit(builder(spec))
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
	if _, err := namespaces.New(namespaces.Options{}).Run(context.Background(), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
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
	mounts := mountinfo(t)
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
	if now := mountinfo(t); now != mounts {
		t.Errorf("the mounts of the host changed:\n%s\n%s", mounts, now)
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
