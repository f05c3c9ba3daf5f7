package local

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/stage"
)

// tailSize is how much of a step's output an error carries.
const tailSize = 4 << 10

// log keeps the whole output of a Run step in a file, hands it on as events, and
// remembers the tail.
type log struct {
	s    *session
	step *stage.Step
	dir  string
	name string

	mu   sync.Mutex
	file *os.File // nil before the first output
	path string   // empty before the first output
	err  error    // why the file is not whole; a step does not fail for its log
	last []byte

	panicked *dag.PanicError // of Request.Progress
}

// newLog names a log. Its file is made with the first output: most steps of a long
// build say nothing.
func newLog(s *session, step *stage.Step, dir string, key cache.Key) *log {
	return &log{s: s, step: step, dir: dir, name: key.Hex() + ".log"}
}

// create makes the file: a new one each time, since another process may be writing the
// log of the same step. It begins where a killed build's files are swept.
func (l *log) create() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	temp, err := l.s.tempDir()
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(temp, "log-*")
	if err != nil {
		return err
	}
	path := filepath.Join(l.dir, l.name)
	if err := os.Rename(file.Name(), path); err != nil {
		file.Close()
		os.Remove(file.Name())
		return err
	}
	l.file, l.path = file, path
	return nil
}

type logWriter struct {
	log    *log
	stream stage.Stream
}

func (l *log) stream(name stage.Stream) io.Writer { return &logWriter{l, name} }

func (w *logWriter) Write(p []byte) (int, error) {
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil && l.err == nil {
		l.err = l.create()
	}
	if l.err == nil {
		_, l.err = l.file.Write(p)
	}
	l.last = append(l.last, p...)
	if len(l.last) > 2*tailSize {
		l.last = append(l.last[:0], l.last[len(l.last)-tailSize:]...)
	}
	return l.emit(stage.StepOutput{Step: l.step, Stream: w.stream, Data: p})
}

var errProgress = errors.New("Request.Progress did not return")

// emit tells of output. It runs in a goroutine of the Runner, where a panic of the callback
// would end the program: it is kept for the goroutine of the step, and ends that.
func (l *log) emit(out stage.StepOutput) (n int, err error) {
	if l.panicked != nil {
		return 0, errProgress
	}
	defer func() {
		if v := recover(); v != nil {
			l.panicked = &dag.PanicError{Value: v, Stack: debug.Stack()}
			err = errProgress
		}
	}()
	l.s.emit(out)
	return len(out.Data), nil
}

// rethrow panics if Request.Progress did when it was told of output.
func (l *log) rethrow() {
	l.mu.Lock()
	panicked := l.panicked
	l.mu.Unlock()
	if panicked != nil {
		panic(panicked)
	}
}

// note says something of the executor's own between the outputs of two attempts.
func (l *log) note(text string) {
	_, _ = l.stream(stage.Stderr).Write([]byte(text)) // it never fails
}

// tail returns the last whole lines of the output.
func (l *log) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.last
	if len(t) > tailSize {
		t = t[len(t)-tailSize:]
		if i := bytes.IndexByte(t, '\n'); i >= 0 {
			t = t[i+1:]
		}
	}
	return string(t)
}

// whole returns the path of the whole output, empty when there is none.
func (l *log) whole() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return ""
	}
	return l.path
}

// close ends the log. One that could not be written whole is not kept: on a full disk it
// would only be in the way.
func (l *log) close() {
	if l.file == nil {
		return
	}
	l.file.Close()
	if l.err != nil {
		os.Remove(l.path)
		l.path = ""
	}
}
