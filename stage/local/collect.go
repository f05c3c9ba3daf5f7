package local

import (
	"context"
	"fmt"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// Collect makes the executor's cache smaller, as cache.Disk.Collect does with [Areas]. Nothing goes
// that a result which is open can still read, or that a build under way has used. What cache mounts
// and git mirrors take is looked at once an hour while they are in use, so that it costs little to
// call after every build. The error wraps stage.ErrUnsupported for a store that is no
// cache.Collector.
func (e *Executor) Collect(ctx context.Context, p cache.Policy) (*cache.Collection, error) {
	c, ok := front(e.opts.Store).(cache.Collector)
	if !ok {
		return nil, fmt.Errorf("local: the cache is a %T: %w: only one on disk can be made smaller", e.opts.Store, stage.ErrUnsupported)
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, ErrClosed
	}
	open := make([]*session, 0, len(e.results))
	for s := range e.results {
		open = append(open, s)
	}
	e.mu.Unlock()
	for _, s := range open {
		if err := s.touch(ctx, true); err != nil {
			return nil, err
		}
	}
	return c.Collect(ctx, p, areas(e.opts.Store, true)...)
}
