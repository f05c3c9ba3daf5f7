package local

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/stage"
)

// maxWrites is how many writes may wait. What comes when that many do is written by who
// brings it: a disk that is slower than the steps holds them up.
const maxWrites = 256

// writes are the records of steps that are done, on their way to the cache. A record is durable before it
// is seen, which takes some milliseconds, and the next step needs what the last one left and not what the
// cache knows of it: so records are written beside the steps that follow, in the order in which they came,
// and the build waits for them at its end.
type writes struct {
	mu      sync.Mutex
	waiting []func() error
	idle    chan struct{} // closed when nothing waits any more; nil while that is so
	err     error         // the first
}

// add has do called soon. The error is that of an earlier write: a build whose results cannot be kept
// need not go on.
func (w *writes) add(do func() error) error {
	w.mu.Lock()
	later := len(w.waiting) < maxWrites
	if later {
		w.waiting = append(w.waiting, do)
		if w.idle == nil {
			w.idle = make(chan struct{})
			go w.write()
		}
	}
	w.mu.Unlock()
	if !later {
		w.note(guarded(do))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *writes) write() {
	for {
		w.mu.Lock()
		if len(w.waiting) == 0 {
			close(w.idle)
			w.idle = nil
			w.mu.Unlock()
			return
		}
		do := w.waiting[0]
		w.waiting = w.waiting[1:]
		w.mu.Unlock()
		w.note(guarded(do))
	}
}

func (w *writes) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// guarded makes a panic, of a store for instance, an error: in a goroutine that is nobody's it would end the program.
func guarded(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &dag.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return do()
}

// settle waits until everything is written, and returns the first error, once. It panics when a write did.
func (w *writes) settle() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.idle != nil {
		idle := w.idle
		w.mu.Unlock()
		<-idle
		w.mu.Lock()
	}
	err := w.err
	w.err = nil
	if p, ok := errors.AsType[*dag.PanicError](err); ok {
		panic(p)
	}
	return err
}

// keep has the record of a step written soon. done is called after that, whether or not it could be.
func (s *session) keep(ctx context.Context, step *stage.Step, key cache.Key, rec record, done func(error)) error {
	ctx = context.WithoutCancel(ctx) // what was made is made
	return s.writes.add(func() error {
		err := save(ctx, s, key, rec)
		done(err)
		if err != nil {
			return fail(step, err)
		}
		return nil
	})
}
