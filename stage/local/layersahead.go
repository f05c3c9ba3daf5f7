package local

import (
	"context"
	"sync"

	"github.com/stagewright/stagewright/stage"
)

// layersAhead are the layers of Run steps that are done, being written while later steps run. Who wants a layer
// demands it as ever, and gets the same value or error: what is begun here is nothing but time that is saved.
type layersAhead struct {
	mu      sync.Mutex
	wanted  map[int]bool // steps whose layers an image will have
	ctx     context.Context
	cancel  context.CancelFunc
	writing sync.WaitGroup
}

// want says that an image will have a layer of each of the units that are one step. It is not called after stop.
func (a *layersAhead) want(ctx context.Context, units []unit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wanted == nil {
		a.wanted = map[int]bool{}
		a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx)) // of the build, and not of who demands
	}
	for _, u := range units {
		a.wanted[u.step] = a.wanted[u.step] || u.since < 0
	}
}

// stop ends what nobody demanded, and waits for it.
func (a *layersAhead) stop() {
	a.mu.Lock()
	if a.cancel != nil {
		a.cancel()
	}
	a.wanted = nil
	a.mu.Unlock()
	a.writing.Wait()
}

// writeAhead begins to write the layer of a step that has just run, if an image will have it.
func (s *session) writeAhead(step *stage.Step) {
	if _, ok := step.Op.(*stage.RunOp); !ok {
		return
	}
	a := &s.early
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.wanted[step.ID] {
		return
	}
	ctx := a.ctx
	a.writing.Go(func() {
		_ = guarded(func() error { // an error and a panic are told to who demands the layer
			_, err := s.layer(ctx, nil, step.ID)
			return err
		})
	})
}
