package local_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// aheadStore tells when a blob is begun or committed once a step runs.
type aheadStore struct {
	*cache.Memory
	armed             atomic.Bool
	hang              bool // a blob is never begun
	begun, written    chan struct{}
	onBegin, onCommit sync.Once
}

func (s *aheadStore) Create(ctx context.Context) (cache.Writer, error) {
	if !s.armed.Load() {
		return s.Memory.Create(ctx)
	}
	s.onBegin.Do(func() { close(s.begun) })
	if s.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w, err := s.Memory.Create(ctx)
	return aheadWriter{w, s}, err
}

type aheadWriter struct {
	cache.Writer
	s *aheadStore
}

func (w aheadWriter) Commit(ctx context.Context, want cache.Digest) (cache.Digest, error) {
	d, err := w.Writer.Commit(ctx, want)
	w.s.onCommit.Do(func() { close(w.s.written) })
	return d, err
}

// waitingRunner runs the second process when until is closed.
type waitingRunner struct {
	*namespaces.Runner
	t     *testing.T
	runs  atomic.Int32
	until <-chan struct{}
}

func (r *waitingRunner) Run(ctx context.Context, spec *sandbox.Spec) (sandbox.Status, error) {
	if r.runs.Add(1) == 2 {
		select {
		case <-r.until:
		case <-time.After(5 * time.Minute):
			r.t.Error("the layer of the first step waits for the second step")
		}
	}
	return r.Runner.Run(ctx, spec)
}

func TestLayersAhead(t *testing.T) {
	base := shell(t)
	for name, c := range map[string]struct {
		hang   bool
		second string
		code   int
	}{
		"the layer of a step is there while the next one runs":      {second: "cat /f > /g"},
		"a step that fails ends the writing of the layer before it": {hang: true, second: "exit 3", code: 3},
	} {
		t.Run(name, func(t *testing.T) {
			store := &aheadStore{Memory: cache.NewMemory(), hang: c.hang, begun: make(chan struct{}), written: make(chan struct{})}
			runner := &waitingRunner{Runner: namespaces.New(namespaces.Options{}), t: t, until: store.written}
			if c.hang {
				runner.until = store.begun
			}
			e, err := local.New(local.Options{Store: store, Runner: runner})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			res, err := e.Execute(t.Context(), compile(t, base.Run("echo 1 > /f").Run(c.second)), stage.Request{Progress: func(ev stage.Event) {
				if started, ok := ev.(stage.StepStarted); ok {
					if _, run := started.Step.Op.(*stage.RunOp); run {
						store.armed.Store(true)
					}
				}
			}})
			if c.code == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if err := res.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if exit, ok := errors.AsType[*stage.ExitError](err); !ok || exit.Code != c.code {
				t.Errorf("got %v, %v", res, err)
			}
		})
	}
}
