package stagewright

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"

	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/stage"
)

// progress calls Options.Progress. It keeps the promise of one event at a time for those of
// several goroutines: of sinks, and of the executor, which a sink may have make a layer. A
// callback that panics or ends its goroutine ends the build, and is not called again.
type progress struct {
	callback func(stage.Event)
	stop     context.CancelCauseFunc

	mu       sync.Mutex
	ended    bool
	panicked *dag.PanicError
}

var errProgress = errors.New("stagewright: Options.Progress did not return")

func (p *progress) tell(e stage.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			p.panicked = &dag.PanicError{Value: v, Stack: debug.Stack()}
		}
		p.ended = true
		p.stop(errProgress)
	}()
	p.callback(e)
	returned = true
}

// rethrow panics if the callback did: whatever goroutine that was in, the caller of Build can
// recover it.
func (p *progress) rethrow() {
	p.mu.Lock()
	panicked := p.panicked
	p.mu.Unlock()
	if panicked != nil {
		panic(panicked)
	}
}
