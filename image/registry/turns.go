package registry

import (
	"context"
	"sync"
)

// turns are locks by name, which exist while somebody holds or wants them.
type turns struct {
	mu   sync.Mutex
	held map[string]*turn
}

type turn struct {
	wanted int
	token  chan struct{}
}

// take waits for the turn, or for the end of ctx. The caller calls done when it is not an error.
func (t *turns) take(ctx context.Context, key string) (done func(), err error) {
	t.mu.Lock()
	if t.held == nil {
		t.held = map[string]*turn{}
	}
	u := t.held[key]
	if u == nil {
		u = &turn{token: make(chan struct{}, 1)}
		t.held[key] = u
	}
	u.wanted++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if u.wanted--; u.wanted == 0 {
			delete(t.held, key)
		}
	}
	select {
	case u.token <- struct{}{}:
		return func() { <-u.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
