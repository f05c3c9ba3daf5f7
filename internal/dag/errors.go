package dag

import (
	"errors"
	"fmt"
	"strings"
)

// ErrGoexit is the result of a task that ended its goroutine with
// runtime.Goexit (as t.FailNow does) instead of returning.
var ErrGoexit = errors.New("dag: task called runtime.Goexit instead of returning")

// CycleError says that a task demanded a key whose value waits for that task.
type CycleError[K comparable] struct {
	// Keys is the cycle: each key waits for the next, and the last for the
	// first. The last is the task whose demand would have closed it.
	Keys []K
}

// Error lists the cycle.
func (e *CycleError[K]) Error() string {
	var b strings.Builder
	b.WriteString("dag: cycle: ")
	for _, k := range e.Keys {
		fmt.Fprintf(&b, "%v -> ", k)
	}
	if len(e.Keys) > 0 {
		fmt.Fprint(&b, e.Keys[0])
	}
	return b.String()
}

// PanicError is what waiters panic with when a task has panicked.
type PanicError struct {
	// Value is what the task panicked with, Stack where.
	Value any
	Stack []byte
}

// Error returns the value and the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("%v\n\n%s", e.Value, e.Stack) }

// Unwrap returns the value when it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
