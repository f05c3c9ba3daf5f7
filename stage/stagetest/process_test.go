package stagetest_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/stagetest"
)

var buildIn = flag.String("build-in", "", "for TestProcesses: build with this cache, and say how many commands ran")

// helper is the stage that the processes of TestProcesses build: its command is slow enough for them to meet.
func helper(t testing.TB) stage.Stage {
	return stagetest.Shell(t).Run("sleep 0.5; echo built > /once")
}

// TestInProcess is not a test of its own: TestProcesses starts it.
func TestInProcess(t *testing.T) {
	if *buildIn == "" {
		t.Skip("only TestProcesses starts it")
	}
	runner := stagetest.NewRecorder(namespaces.New(namespaces.Options{}))
	img := stagetest.ImageWith(t, helper(t), stagewright.Options{CacheDir: *buildIn, Runner: runner})
	img.File("/once").WantContent("built\n")
	fmt.Printf("\nran %d\n", len(runner.Commands()))
}

// Processes that build the same at once, as those of `go test ./...` do, run its command once between them.
func TestProcesses(t *testing.T) {
	stagetest.Shell(t) // compiled before they start, so that all begin with the command
	dir := filepath.Join(t.TempDir(), "cache")
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		runs int
	)
	for range 3 {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestInProcess$", "-test.v", "-build-in", dir)
			out, err := cmd.CombinedOutput()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			runs += strings.Count(string(out), "\nran 1\n")
			if !strings.Contains(string(out), "\nran ") {
				t.Errorf("a process did not build:\n%s", out)
			}
		})
	}
	wg.Wait()
	if runs != 1 {
		t.Errorf("the command ran %d times in 3 processes", runs)
	}
}

// The same among the tests of one process.
func TestParallel(t *testing.T) {
	shell, dir := stagetest.Shell(t), t.TempDir()
	runner := stagetest.NewRecorder(namespaces.New(namespaces.Options{}))
	t.Run("at once", func(t *testing.T) {
		for i := range 4 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				img := stagetest.ImageWith(t, shell.Run("sleep 0.2; echo built > /once"), stagewright.Options{CacheDir: dir, Runner: runner})
				img.File("/once").WantContent("built\n")
			})
		}
	})
	if n := len(runner.Commands()); n != 1 {
		t.Errorf("the command ran %d times", n)
	}
}

// Two builds with a shell, without any option: the second finds everything.
func TestShell(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("os.UserCacheDir is told where by XDG_CACHE_HOME only on Linux")
	}
	s := stagetest.Shell(t) // from the user's cache
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	app := s.Workdir("/src").Run("echo $((6*7)) | tee answer; ls / | sort | head -n 3 > /list")
	first := stagetest.Image(t, app)
	first.File("/src/answer").WantContent("42\n").WantOwner(0, 0)
	first.File("/list").WantContent("bin\ndev\netc\n")
	first.File("/bin/cat").WantLink("sh")
	if n := first.Report().Ran(); n == 0 {
		t.Error("the first build ran nothing")
	}
	again := stagetest.Image(t, app)
	stagetest.MustHit(t, again)
	stagetest.MustHit(t, again.Result, s)
	again.WantSame(first.Checks)
}

// Where there is no go command the test is skipped, with the reason; and what is missing is no failure.
func TestShellSkips(t *testing.T) {
	stagetest.NeedsSandbox(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	f := try(func(t testing.TB) { stagetest.Shell(t) })
	if f.failed || !f.skipped || !strings.Contains(f.String(), "no go command") {
		t.Errorf("skipped: %v, failed: %v, told\n%s", f.skipped, f.failed, f)
	}
}
