package namespaces_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/sandbox/sandboxtest"
)

// groupsOf finds the control groups that the process pid has made.
func groupsOf(t *testing.T, pid int) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), fmt.Sprintf("stagewright-%d-", pid)) {
			list = append(list, path)
		}
		return nil // groups come and go meanwhile
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestGroups looks at the control groups of a step while it runs.
func TestGroups(t *testing.T) {
	probe(t)
	lower := sandboxtest.Lower(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := namespaces.New(namespaces.Options{}).Run(ctx, &sandbox.Spec{
			Root: sandbox.Root{Lowers: []string{lower}}, Args: []string{sandboxtest.Prober, "sleep"}, Stdout: w,
			Limits: sandbox.Limits{Memory: 512 << 20, Pids: 77, CPU: 1.5},
		})
		_ = w.CloseWithError(err)
		done <- err
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if _, ok := errors.AsType[*sandbox.LimitError](err); ok {
		t.Skip(err)
	}
	if err != nil || line != "ready\n" {
		t.Fatal(line, err)
	}
	got := map[string]string{}
	for _, dir := range groupsOf(t, os.Getpid()) {
		// The builder takes the room of the helper's own threads away once it hears of the execve, and the command may be faster.
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if b, err := os.ReadFile(filepath.Join(dir, "pids.max")); err != nil || string(b) == "77\n" {
				break
			}
		}
		for _, file := range []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max", "pids.max", "cpu.max", "cpu.cfs_quota_us"} {
			if b, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				got[file] = strings.TrimSpace(string(b))
			}
		}
		if b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err != nil || strings.Count(string(b), "\n") != 1 {
			t.Errorf("%s has the processes %q, %v, want one", dir, b, err)
		}
	}
	for file, want := range map[string]string{
		"memory.limit_in_bytes": "536870912", "memory.memsw.limit_in_bytes": "536870912", "memory.max": "536870912", "memory.swap.max": "0",
		"pids.max": "77", "cpu.max": "150000 100000", "cpu.cfs_quota_us": "150000",
	} {
		if have, ok := got[file]; ok && have != want {
			t.Errorf("%s is %s, want %s", file, have, want)
		}
	}
	if len(got) < 3 {
		t.Errorf("found only %v", got)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left := groupsOf(t, os.Getpid()); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestCheckLimits(t *testing.T) {
	probe(t)
	r := namespaces.New(namespaces.Options{})
	for name, l := range map[string]sandbox.Limits{
		"none":   {},
		"core":   {Rlimits: []sandbox.Rlimit{{Name: "core"}}},
		"memory": {Memory: 1 << 30},
		"pids":   {Pids: 100},
		"cpu":    {CPU: 1},
		"all":    {Memory: 1 << 30, Pids: 100, CPU: 1},
	} {
		err := sandbox.CheckLimits(r, l)
		_, runErr := r.Run(t.Context(), &sandbox.Spec{
			Root: sandbox.Root{Lowers: []string{sandboxtest.Lower(t)}}, Args: []string{sandboxtest.Prober}, Limits: l,
		})
		if (err == nil) != (runErr == nil) {
			t.Errorf("%s: CheckLimits says %v, Run %v", name, err, runErr)
		}
	}
	if left := groupsOf(t, os.Getpid()); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	err := sandbox.CheckLimits(r, sandbox.Limits{Rlimits: []sandbox.Rlimit{{Name: "walnuts"}}})
	if _, ok := errors.AsType[*sandbox.InvalidSpecError](err); !ok {
		t.Errorf("an unknown resource: %v", err)
	}
}
