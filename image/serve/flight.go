package serve

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// flight is one call of Source and those who wait for it.
type flight struct {
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed when entry and err are set
	entry   *entry
	err     error
	waiters int // guarded by Handler.mu
}

// errAbandoned is the cause of the context of a Source that nobody waits for.
var errAbandoned = errors.New("serve: nobody waits for the image any more")

// ask returns what Source has under the name, in a call that all share who ask meanwhile.
func (h *Handler) ask(ctx context.Context, n name) (*entry, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, errClosed
	}
	f := h.flights[n]
	if f == nil {
		// Not the request's context: what it carries belongs to one client, and its end must not end the call for the others.
		call, cancel := context.WithCancelCause(context.Background())
		f = &flight{cancel: cancel, done: make(chan struct{})}
		h.flights[n] = f
		h.running.Add(1)
		go h.fly(call, f, n)
	}
	f.waiters++
	h.mu.Unlock()

	select {
	case <-f.done:
		return f.entry, f.err
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel(errAbandoned)
		h.land(n, f) // whoever asks from now on gets a call of his own
	}
	return nil, context.Cause(ctx)
}

// land takes a flight off the list. The caller holds the lock.
func (h *Handler) land(n name, f *flight) {
	if h.flights[n] == f {
		delete(h.flights, n)
	}
}

// fly calls Source and holds what it returns.
func (h *Handler) fly(ctx context.Context, f *flight, n name) {
	defer h.running.Done()
	f.entry, f.err = h.call(ctx, f.cancel, n)
	h.mu.Lock()
	h.land(n, f)
	abandoned := context.Cause(ctx) // nobody has seen the entry yet: only those who wait and Close can have ended it
	if f.err == nil && abandoned == nil {
		h.hold(f.entry)
	}
	h.mu.Unlock()
	switch {
	case abandoned != nil:
		f.entry, f.err = nil, abandoned
	case f.err != nil:
		f.cancel(f.err) // what Source began goes with it
		h.options.Failed(n.repo, n.reference, f.err)
	}
	close(f.done)
}

func (h *Handler) call(ctx context.Context, cancel context.CancelCauseFunc, n name) (e *entry, err error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { // a panic in one image's Source must not end the others' server, as one in a handler of net/http does not
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("serve: the source of %s:%s panicked: %v", n.repo, n.reference, p)
		}
	}()
	a, err := h.options.Source(ctx, n.repo, n.reference)
	if err != nil {
		return nil, err
	}
	e, err = describe(ctx, n, a)
	if err != nil {
		return nil, err
	}
	e.cancel = cancel
	if want, err := v1.NewHash(n.reference); err == nil {
		if _, ok := e.documents[want]; !ok {
			return nil, fmt.Errorf("%w: what %s has now is %s", ErrNotFound, n.repo, e.root)
		}
		e.tag = ""
	}
	return e, nil
}

// failure is the error of a HEAD request, whose answer has no place for it: clients ask again with GET for the reason, which must not
// build a second time.
type failure struct {
	err error
	at  time.Time
}

const (
	failureAge  = 10 * time.Second // in which the GET comes, if it does
	maxFailures = 64
)

// fail remembers the failure of a HEAD.
func (h *Handler) fail(n name, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for k, f := range h.failures {
		if now.Sub(f.at) > failureAge || len(h.failures) >= maxFailures {
			delete(h.failures, k)
		}
	}
	h.failures[n] = failure{err, now}
}

// failed returns, once, what the HEAD just before failed with.
func (h *Handler) failed(n name) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, ok := h.failures[n]
	delete(h.failures, n)
	if !ok || time.Since(f.at) > failureAge {
		return nil
	}
	return f.err
}
