package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How many failures a remote may have before it is left alone: in a row, and in all.
const (
	maxFailuresInRow = 3
	maxFailures      = 10
)

// trouble counts what goes wrong while reading.
type trouble struct {
	title string
	tell  func(error)

	mu    sync.Mutex
	told  bool
	row   int // failures since something went well
	all   int
	ended bool // the remote is left alone
}

func (t *trouble) over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

func (t *trouble) fine() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.row = 0
}

// note tells of something that went wrong and did no harm, unless something was told before.
func (t *trouble) note(err error) {
	t.mu.Lock()
	tell := t.tell
	if t.told {
		tell = nil
	}
	t.told = true
	t.mu.Unlock()
	if tell != nil {
		tell(fmt.Errorf("%s: %w", t.title, err))
	}
}

// failed notes a failure, unless the caller has given up himself. final leaves the remote alone at once.
func (t *trouble) failed(ctx context.Context, err error, final bool) {
	if ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	t.row++
	t.all++
	t.ended = t.ended || final || t.row >= maxFailuresInRow || t.all >= maxFailures
	t.mu.Unlock()
	t.note(fmt.Errorf("what cannot be read is made again: %w", err))
}

// slowError is the cause of what took longer than Options.Timeout.
type slowError struct{ timeout time.Duration }

func (e *slowError) Error() string {
	return fmt.Sprintf("it has sent too little, or nothing, for %v (Options.Timeout)", e.timeout)
}

// explain puts the cause in place of the end of a context that was made here.
func explain(ctx context.Context, err error) error {
	var slow *slowError
	if errors.As(context.Cause(ctx), &slow) {
		return slow
	}
	return err
}
