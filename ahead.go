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

	mu     sync.Mutex
	over   bool
	layers []*image.Growing
	ends   []func() // of the sinks
}

// take gives a layer to the sinks, and closes it in the end.
func (a *ahead) take(g *image.Growing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		g.Close()
		return
	}
	a.layers = append(a.layers, g)
	for _, s := range a.sinks {
		if s, ok := s.(image.Ahead); ok {
			a.ends = append(a.ends, s.Ahead(a.ctx, g))
		}
	}
}

// end ends what no sink wants any more, all at once, since a sink may have to tell a registry, and then closes the layers.
func (a *ahead) end() {
	a.mu.Lock()
	a.over = true
	layers, ends := a.layers, a.ends
	a.layers, a.ends = nil, nil
	a.mu.Unlock()
	var ending sync.WaitGroup
	for _, end := range ends {
		ending.Go(end)
	}
	ending.Wait()
	for _, g := range layers {
		g.Close()
	}
}
