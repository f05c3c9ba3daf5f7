package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
)

// atATime is how many entries are decided on before they are removed, side by side: a file system takes
// long to remove what it has to look for on the disk.
const (
	atATime        = 64
	removeParallel = 8
)

// decision is an entry that is to be removed.
type decision struct {
	Removal
	from source
	line line // of the source

	freed int64
	err   error
}

// run removes, the oldest first, until nothing more has to go.
func (c *collector) run(ctx context.Context) error {
	for {
		batch, err := c.decide(ctx)
		if err == nil && !c.policy.DryRun {
			remove(ctx, batch)
		}
		for _, r := range batch {
			if err != nil {
				r.err = err
			}
			c.note(r)
		}
		if err != nil || len(batch) == 0 {
			return err
		}
	}
}

// decide returns what has to go next, as if it were gone already.
func (c *collector) decide(ctx context.Context) (batch []*decision, err error) {
	for len(batch) < atATime {
		s, e, err := c.oldest(ctx)
		if err != nil {
			return batch, err
		}
		if s == nil || !e.Used.Before(c.limit) {
			break
		}
		reason := c.reason(e)
		if reason == 0 {
			break
		}
		batch = append(batch, &decision{Removal: Removal{Entry: e, Reason: reason}, from: s, line: s.pop()})
		c.need -= e.Bytes
	}
	return batch, ctx.Err()
}

// remove removes entries: records and blobs side by side, those of other packages one by one.
func remove(ctx context.Context, batch []*decision) {
	var wg sync.WaitGroup
	for w := range removeParallel {
		wg.Go(func() {
			for i, r := range batch {
				_, own := r.from.area().(*hashed)
				if own && i%removeParallel != w || !own && w > 0 {
					continue
				}
				if r.err = ctx.Err(); r.err == nil {
					r.freed, r.err = r.from.area().Remove(ctx, r.ID, r.Used)
				}
			}
		})
	}
	wg.Wait()
}

// oldest returns the entry to look at next, and where it is from; nil when there are no more.
func (c *collector) oldest(ctx context.Context) (source, Entry, error) {
	var from source
	var oldest Entry
	for _, s := range c.sources {
		e, ok, err := s.peek(ctx)
		if err != nil {
			return nil, e, err
		}
		if ok && (from == nil || compareUse(e, oldest) < 0) {
			from, oldest = s, e
		}
	}
	return from, oldest, nil
}

// compareUse orders entries as they are removed.
func compareUse(a, b Entry) int {
	return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
}

// reason says why the oldest entry must go, 0 if it may stay, and so everything that is younger.
func (c *collector) reason(e Entry) Reason {
	switch p := c.policy; {
	case p.All:
		return ReasonAll
	case p.MaxAge > 0 && c.start.Sub(e.Used) > p.MaxAge:
		return ReasonAge
	case p.excess(c.kept()) > 0:
		return ReasonBytes
	case c.need > 0:
		return ReasonFree
	}
	return 0
}

// excess is by how much a size is above MaxBytes.
func (p Policy) excess(size int64) int64 {
	if p.MaxBytes == 0 {
		return 0
	}
	return max(0, size-p.MaxBytes)
}

// note takes down what became of a decision.
func (c *collector) note(r *decision) {
	if !c.policy.DryRun {
		c.need += r.Bytes - r.freed
		r.Bytes = r.freed
	}
	switch {
	case r.err == nil:
		c.result.Removed = append(c.result.Removed, r.Removal)
		c.result.Freed += r.Bytes
	case errors.Is(r.err, ErrNotFound):
	case ended(r.err):
		r.from.keep(r.line)
	default:
		// What cannot be removed now is not the first thing to be tried the next time.
		r.line.used = max(r.line.used, c.start.UnixNano())
		r.from.keep(r.line)
		if !errors.Is(r.err, ErrInUse) {
			if c.failed++; c.failed == 1 {
				c.firstErr = fmt.Errorf("%s %s: %w", r.Kind, r.ID, r.err)
			}
		}
	}
}

// ended reports whether an error is that of a context.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
