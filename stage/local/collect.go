package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/absent"
	"github.com/stagewright/stagewright/stage"
)

// Usage tells what a cache takes on the disk, with what executors keep in it. The error wraps
// stage.ErrUnsupported for a store that is no cache.Collector. Of a cache.Layered its front counts.
func Usage(ctx context.Context, s cache.Store) (*cache.Usage, error) {
	c, err := collector(s)
	if err != nil {
		return nil, err
	}
	return c.Usage(ctx, Areas(s)...)
}

// Collect removes what a policy asks for from a cache, with what executors keep in it, as
// cache.Disk.Collect does. Builds may go on meanwhile, in this process and in others. The error wraps stage.ErrUnsupported for a
// store that is no cache.Collector. Of a cache.Layered its front counts.
func Collect(ctx context.Context, s cache.Store, p cache.Policy) (*cache.Collection, error) {
	c, err := collector(s)
	if err != nil {
		return nil, err
	}
	return c.Collect(ctx, p, Areas(s)...)
}

// Collect is as the function of the same name for the executor's own cache. Nothing goes that a
// result which is open can still read. What cache mounts and git mirrors take is looked at
// once an hour while they are in use, so that it costs little to call after every build.
func (e *Executor) Collect(ctx context.Context, p cache.Policy) (*cache.Collection, error) {
	c, err := collector(e.opts.Store)
	if err != nil {
		return nil, err
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

func collector(s cache.Store) (cache.Collector, error) {
	if absent.Is(s) {
		return nil, errors.New("local: the cache is nil; give the store that is meant")
	}
	if c, ok := front(s).(cache.Collector); ok {
		return c, nil
	}
	return nil, fmt.Errorf("local: the cache is a %T, and only one on disk says what it takes and can be made smaller: %w", front(s), stage.ErrUnsupported)
}
