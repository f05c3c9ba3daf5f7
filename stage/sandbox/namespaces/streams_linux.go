package namespaces

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// streams are the pipes to a process. It gets pipes even where the caller has
// a file: through a terminal it could type for the user, and through
// /proc/self/fd it could open a file anew in another mode.
type streams struct {
	child [3]*os.File // the process's ends
	null  [3]bool     // those that it is to open /dev/null for
	ours  []*os.File  // the other ends

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

func openStreams(s *sandbox.Spec) (_ *streams, err error) {
	st := &streams{stdin: s.Stdin}
	defer func() {
		if err != nil {
			st.closeAll()
		}
	}()
	var null *os.File
	if s.Stdin == nil || s.Stdout == nil || s.Stderr == nil {
		if null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
			return nil, fmt.Errorf("sandbox: %w", err)
		}
		st.ours = append(st.ours, null)
	}
	if s.Stdin != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("sandbox: %w", err)
		}
		st.child[0], st.input = r, w
	}
	writers := [3]io.Writer{nil, s.Stdout, s.Stderr}
	for fd := 1; fd <= 2; fd++ {
		switch {
		case writers[fd] == nil:
		case fd == 2 && sameWriter(writers[1], writers[2]):
			st.child[2] = st.child[1]
		default:
			r, w, err := os.Pipe()
			if err != nil {
				return nil, fmt.Errorf("sandbox: %w", err)
			}
			st.child[fd] = w
			st.outputs = append(st.outputs, output{r, writers[fd], [3]string{1: "standard output", 2: "standard error"}[fd]})
		}
	}
	for fd := range st.child {
		if st.child[fd] == nil {
			st.child[fd], st.null[fd] = null, true
		}
	}
	return st, nil
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

// closeChild closes the process's ends, once it has them.
func (st *streams) closeChild() {
	for fd, f := range st.child {
		if f != nil && !st.null[fd] {
			_ = f.Close() // a second close of a shared end does nothing
		}
	}
	for _, f := range st.ours {
		_ = f.Close()
	}
}

func (st *streams) closeAll() {
	st.closeChild()
	if st.input != nil {
		_ = st.input.Close()
	}
	for _, o := range st.outputs {
		_ = o.from.Close()
	}
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
