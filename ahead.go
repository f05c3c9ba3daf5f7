package stagewright

import (
	"context"
	"sync"

	"github.com/stagewright/stagewright/image"
)

// ahead has the sinks that can do so send layers while they are made.
type ahead struct {
	ctx   context.Context
	sinks []image.Sink

	mu   sync.Mutex
	over bool
	ends []func()
}

// take gives a layer to the sinks, and closes it in the end.
func (a *ahead) take(g *image.Growing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		g.Close()
		return
	}
	a.ends = append(a.ends, func() { g.Close() })
	for _, s := range a.sinks {
		if s, ok := s.(image.Ahead); ok {
			a.ends = append(a.ends, s.Ahead(a.ctx, g))
		}
	}
}

// end ends what no sink wants any more. What was taken first is closed last.
func (a *ahead) end() {
	a.mu.Lock()
	a.over = true
	ends := a.ends
	a.ends = nil
	a.mu.Unlock()
	for i := len(ends) - 1; i >= 0; i-- {
		ends[i]()
	}
}
