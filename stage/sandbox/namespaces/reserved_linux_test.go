package namespaces_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A program that is started under the name of a helper or of the watcher, whose descriptors are not what a builder gives them or cannot
// be examined, is not the host's program: that would do again all that the builder does, and start helpers that do so in turn.
func TestReservedNames(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, name := range []string{"stagewright-sandbox-init", "stagewright-sandbox-watch"} {
		for given, files := range map[string][]*os.File{"no descriptors": nil, "files": {null, null}} {
			t.Run(name+" with "+given, func(t *testing.T) {
				var errs bytes.Buffer
				cmd := exec.Command(exe)
				cmd.Args, cmd.ExtraFiles, cmd.Stderr = []string{name}, files, &errs
				cmd.Env = append(os.Environ(), ranEnv+"=1")
				out, err := cmd.Output()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 125 || len(out) > 0 || !strings.Contains(errs.String(), "is started by a builder alone") {
					t.Errorf("it ended with %v, printed %q and said %q", err, out, errs.String())
				}
			})
		}
	}
}
