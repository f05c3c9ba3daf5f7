package stage

import (
	"context"
	"fmt"
	"io"
)

// Process is a program to run on top of a finished stage.
type Process struct {
	// Argv is the command line; empty means the image's own: its entrypoint and
	// command.
	Argv []string
	// Env is added to the image's environment: NAME=value, replacing.
	Env []string
	// Stdin is what it reads; nil is empty.
	Stdin io.Reader
	// Stdout and Stderr receive what it writes; nil discards it.
	Stdout, Stderr io.Writer
	// Network is what it may reach.
	Network Network
}

// ProcessRunner is implemented by results that can run programs on top of what
// was built. Use [RunProcess].
type ProcessRunner interface {
	// RunProcess runs a process on the files and with the configuration of a
	// step. It returns when the process and all its children have ended, which
	// they do at the latest when the context does, or the result is closed: Close waits
	// for them, and the error is then an fs.ErrClosed.
	RunProcess(ctx context.Context, step int, p Process) error
}

// RunProcess runs a program on top of the files of a step, in the sandbox that
// Run steps have, with the image's environment, user and working directory. What
// it writes to files is thrown away. The error is an [*ExitError] when the program
// fails, wraps [ErrUnsupported] when the result cannot run programs, and wraps the
// context's error after a cancellation.
func RunProcess(ctx context.Context, r Result, step int, p Process) error {
	runner, ok := r.(ProcessRunner)
	if !ok {
		return fmt.Errorf("stage: run a process: %w: %T has no method RunProcess", ErrUnsupported, r)
	}
	return runner.RunProcess(ctx, step, p)
}
