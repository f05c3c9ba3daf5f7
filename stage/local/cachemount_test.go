package local_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// otherBuilder makes a test process a builder with the cache directory that it names.
const otherBuilder = "LOCAL_TEST_BUILDER"

// holder is a step that keeps a cache mount until a file appears in another one.
func holder(base stage.Stage, sharing stage.Sharing) stage.Stage {
	return base.Run("echo first >> /c/log; echo holding; while [ ! -e /tell/go ]; do sleep 0.01; done; echo done >> /c/log",
		stage.CacheMount("/c", stage.WithSharing(sharing), stage.ID("under test")), stage.CacheMount("/tell"))
}

// TestOtherBuilder is the builder of TestSharingOfProcesses.
func TestOtherBuilder(t *testing.T) {
	dir, sharing, ok := strings.Cut(os.Getenv(otherBuilder), "=")
	if !ok {
		return
	}
	build(t, executor(t, dir, local.Options{}), holder(shell(t), stage.Sharing(sharing)), stage.Request{Progress: func(ev stage.Event) {
		if out, ok := ev.(stage.StepOutput); ok {
			os.Stdout.Write(out.Data)
		}
	}})
}

// TestSharingOfProcesses has another process hold a cache mount while this one wants it.
func TestSharingOfProcesses(t *testing.T) {
	base := shell(t)
	for sharing, want := range map[stage.Sharing]string{
		stage.Shared:  "first\nsecond\n",       // beside the other
		stage.Private: "second\n",              // in a directory of its own
		stage.Locked:  "first\ndone\nsecond\n", // after the other
	} {
		t.Run(string(sharing), func(t *testing.T) {
			dir := t.TempDir()
			e := executor(t, dir, local.Options{})
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOtherBuilder$")
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s=%s", otherBuilder, dir, sharing))
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(out)
			if line, err := lines.ReadString('\n'); line != "holding\n" {
				t.Fatal(line, err)
			}
			tell := func() { build(t, e, base.Run("echo > /tell/go", stage.CacheMount("/tell")), stage.Request{}) }
			s := base.Run("echo second >> /c/log; cat /c/log > /out", stage.CacheMount("/c", stage.WithSharing(sharing), stage.ID("under test")))
			if sharing == stage.Locked {
				// This one waits; that it does not go on before it is told shows in the log.
				g, told := compile(t, base.Run("echo > /tell/go", stage.CacheMount("/tell"))), make(chan error, 1)
				go func() {
					res, err := e.Execute(t.Context(), g, stage.Request{})
					if err == nil {
						err = res.Close()
					}
					told <- err
				}()
				defer func() {
					if err := <-told; err != nil {
						t.Error(err)
					}
				}()
			}
			got := read(t, build(t, e, s, stage.Request{}), "out")
			if got != want {
				t.Errorf("the mount has %q, want %q", got, want)
			}
			if sharing != stage.Locked {
				tell()
			}
			if _, err := io.Copy(io.Discard, lines); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
