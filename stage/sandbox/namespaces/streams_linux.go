package namespaces

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// streams are our ends of the pipes to a process. It gets pipes even where the caller has
// a file: through a terminal it could type for the user, and through
// /proc/self/fd it could open a file anew in another mode.
type streams struct {
	stdin   io.Reader
	input   *os.File
	outputs []output
	copying sync.WaitGroup
	mu      sync.Mutex
	err     error
}

type output struct {
	from *os.File
	to   io.Writer
	name string
}

// connect takes our ends of a helper's pipes for what the Spec has at them, and tells config
// which of them the process is to have otherwise.
func connect(s *sandbox.Spec, ours [3]*os.File, config *child.Config) *streams {
	st := &streams{stdin: s.Stdin}
	config.Null = [3]bool{s.Stdin == nil, s.Stdout == nil, s.Stderr == nil}
	config.Merge = s.Stdout != nil && s.Stderr != nil && sameWriter(s.Stdout, s.Stderr)
	if s.Stdin != nil {
		st.input = ours[0]
	} else {
		_ = ours[0].Close()
	}
	writers := [3]io.Writer{nil, s.Stdout, s.Stderr}
	for fd := 1; fd <= 2; fd++ {
		if writers[fd] == nil || fd == 2 && config.Merge {
			_ = ours[fd].Close()
			continue
		}
		st.outputs = append(st.outputs, output{ours[fd], writers[fd], [3]string{1: "standard output", 2: "standard error"}[fd]})
	}
	return st
}

// sameWriter compares without panicking on writers that cannot be compared.
func sameWriter(a, b io.Writer) (same bool) {
	defer func() {
		if recover() != nil {
			same = false
		}
	}()
	return a == b
}

// start begins to copy. onError is called when a writer of the caller failed.
func (st *streams) start(onError func()) {
	if st.input != nil {
		// Nobody waits for this one: a Read of the caller may never return.
		go func() {
			_, _ = io.Copy(st.input, st.stdin) // the process need not read to the end
			_ = st.input.Close()
		}()
	}
	for _, o := range st.outputs {
		st.copying.Go(func() {
			if _, err := io.Copy(o.to, o.from); err != nil && !errors.Is(err, os.ErrClosed) {
				st.mu.Lock()
				st.err = errors.Join(st.err, fmt.Errorf("sandbox: write the process's %s: %w", o.name, err))
				st.mu.Unlock()
				onError()
			}
		})
	}
}

// finish waits until all output is written; the process is dead, and so is
// everything that could hold an end of a pipe.
func (st *streams) finish() error {
	st.copying.Wait()
	for _, o := range st.outputs {
		_ = o.from.Close()
	}
	if st.input != nil {
		_ = st.input.Close()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.err
}
