package local

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/stagewright/stagewright/cache"
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
	last []byte
}

// newLog names a log. Its file is made with the first output: most steps of a long
// build say nothing.
func newLog(s *session, step *stage.Step, dir string, key cache.Key) *log {
	return &log{s: s, step: step, dir: dir, name: key.Hex() + ".log"}
}

// create makes the file: a new one each time, since another process may be writing the
// log of the same step.
func (l *log) create() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(l.dir, ".log-*")
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
	if l.file == nil {
		if err := l.create(); err != nil {
			return 0, fmt.Errorf("local: log of the step: %w", err)
		}
	}
	if n, err := l.file.Write(p); err != nil {
		return n, fmt.Errorf("local: log of the step: %w", err)
	}
	l.last = append(l.last, p...)
	if len(l.last) > 2*tailSize {
		l.last = append(l.last[:0], l.last[len(l.last)-tailSize:]...)
	}
	l.s.emit(stage.StepOutput{Step: l.step, Stream: w.stream, Data: p})
	return len(p), nil
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

func (l *log) close() {
	if l.file != nil {
		l.file.Close()
	}
}
