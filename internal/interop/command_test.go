package interop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience is how long one program may take: on two busy cores the slowest here, a pull of 200 layers, takes some 20 seconds.
const patience = 3 * time.Minute

// command is a program to run.
type command struct {
	args  []string
	env   []string // added to that of the test
	stdin []byte
}

// try runs a program, and returns what it wrote to the standard output and to the standard error.
func try(ctx context.Context, c command) (stdout, stderr string, err error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdin = bytes.NewReader(c.stdin)
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// run runs a program, which must succeed, and returns its standard output.
func run(t testing.TB, c command) string {
	t.Helper()
	out, errs, err := try(t.Context(), c)
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(c.args, " "), err, errs, out)
	}
	return out
}

// tool skips the test where a program is not installed.
func tool(t testing.TB, name, debian string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed: apt-get install %s", name, debian)
	}
}
