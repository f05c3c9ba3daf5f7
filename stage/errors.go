package stage

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Error is one mistake in a stage, or one step that failed: where it was
// written, in which stage, what is wrong and what to write instead.
type Error struct {
	Pos   Position // the call that made the operation; zero when no single call did
	Stage string   // name of the stage; empty when it concerns none
	Step  string   // the operation as a Dockerfile would spell it; may be empty
	Err   error    // what is wrong
	Fix   string   // what to write instead; may be empty
}

// Error returns `file.go:12: stage builder: COPY x y: what is wrong; fix`.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Pos != (Position{}) {
		fmt.Fprintf(&b, "%s: ", e.Pos)
	}
	if e.Stage != "" {
		fmt.Fprintf(&b, "stage %s: ", e.Stage)
	}
	if e.Step != "" {
		fmt.Fprintf(&b, "%s: ", shorten(e.Step))
	}
	b.WriteString(e.Err.Error())
	if e.Fix != "" {
		b.WriteString("; ")
		b.WriteString(e.Fix)
	}
	return b.String()
}

// maxStepText is how much of a step's text an error repeats: a generated command can
// have any length.
const maxStepText = 300

func shorten(text string) string {
	if len(text) <= maxStepText {
		return text
	}
	return strings.ToValidUTF8(text[:maxStepText], "") + "…"
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Errors is every mistake that was found, in the order of the stages. It is
// what [Compile] and executors return when a graph cannot be built as written.
type Errors []*Error

// Error returns one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, err := range e {
		list[i] = err
	}
	return list
}

// ExitError is the failure of a Run step whose command ended with an exit code
// other than 0, or by a signal.
type ExitError struct {
	Argv   []string // the command as it was started
	Code   int      // exit code; 128 + signal number when a signal ended it
	Signal string   // "" or the name of the signal, as in "SIGKILL"
	Cause  string   // the limit that it ran into, as "more than 64 MiB of memory"; empty for none
	Tail   string   // the last lines of its output
	Log    string   // path of the whole output; empty when it was not kept
}

// How tells in a few words how the command ended.
func (e *ExitError) How() string {
	how := fmt.Sprintf("exit code %d", e.Code)
	if e.Signal != "" {
		how = "killed by " + e.Signal
	}
	switch {
	case e.Cause != "" && e.Signal != "":
		how = "killed: " + e.Cause
	case e.Cause != "":
		how += ", after " + e.Cause
	}
	return how
}

// Error tells the argv, how it ended, the tail of the output and where the rest
// is.
func (e *ExitError) Error() string { return commandError(e.Argv, e.How(), e.Tail, e.Log) }

// TimeoutError is the failure of a Run step that took longer than its [Timeout]. It is
// an [ErrTimeout].
type TimeoutError struct {
	Argv    []string // the command as it was started
	Timeout time.Duration
	Tail    string // the last lines of its output
	Log     string // path of the whole output; empty when it was not kept
}

// How tells in a few words what happened.
func (e *TimeoutError) How() string { return "killed after its timeout of " + e.Timeout.String() }

// Error tells the argv, the timeout, the tail of the output and where the rest is.
func (e *TimeoutError) Error() string { return commandError(e.Argv, e.How(), e.Tail, e.Log) }

// Is reports whether target is ErrTimeout.
func (e *TimeoutError) Is(target error) bool { return target == ErrTimeout }

func commandError(argv []string, how, tail, log string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q: %s", argv, how)
	if tail = strings.TrimRight(tail, "\n"); tail != "" {
		b.WriteString("\n\t")
		b.WriteString(strings.ReplaceAll(tail, "\n", "\n\t"))
	}
	if log != "" {
		fmt.Fprintf(&b, "\nwhole output: %s", log)
	}
	return b.String()
}

var (
	// ErrTimeout says that a step took longer than its Timeout.
	ErrTimeout = errors.New("timeout")
	// ErrUnsupported says that an executor cannot do what a graph asks for,
	// for example Run on an executor for files only.
	ErrUnsupported = errors.New("not supported by this executor")

	// ErrUnknownStage says that a stage is not part of a graph.
	ErrUnknownStage = errors.New("unknown stage")

	// ErrCycle says that a stage needs itself.
	ErrCycle = errors.New("cycle of stages")
)
