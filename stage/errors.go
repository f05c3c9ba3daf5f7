package stage

import (
	"errors"
	"fmt"
	"strings"
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
	Tail   string   // the last lines of its output
	Log    string   // path of the whole output; empty when it was not kept
}

// Error tells the argv, how it ended, the tail of the output and where the rest
// is.
func (e *ExitError) Error() string {
	var b strings.Builder
	how := fmt.Sprintf("exit code %d", e.Code)
	if e.Signal != "" {
		how = "killed by " + e.Signal
	}
	fmt.Fprintf(&b, "%q: %s", e.Argv, how)
	if tail := strings.TrimRight(e.Tail, "\n"); tail != "" {
		b.WriteString("\n\t")
		b.WriteString(strings.ReplaceAll(tail, "\n", "\n\t"))
	}
	if e.Log != "" {
		fmt.Fprintf(&b, "\nwhole output: %s", e.Log)
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
