package namespaces

import (
	"os"
	"sync"
	"time"
)

// spareLife is how long a helper waits for a step.
const spareLife = 2 * time.Second

// spares has a helper started ahead: while one step runs, the helper of the next one,
// which is likely to be alike, is made. Of a step that does nothing that is the longest
// part: 3 to 4 ms for its namespaces and the start of this program, and 2 ms more for
// an ordinary user, since a process in a new user namespace begins as a copy of all page tables.
// Nothing is started before the first step, and at most one helper waits.
type spares struct {
	mu   sync.Mutex
	next *spare
}

// spare is a helper in the making, or made.
type spare struct {
	origin origin
	made   chan struct{} // closed when helper is set
	helper *helper       // nil if it could not be started: the step that needs it will say why
	expiry *time.Timer
}

// helper returns one for origin: the spare, or a new one.
func (s *spares) helper(o *origin, sockets []*os.File) (*helper, error) {
	if len(sockets) == 0 {
		if h := s.take(o); h != nil {
			return h, nil
		}
	}
	return startHelper(o, sockets)
}

func (s *spares) take(o *origin) *helper {
	s.mu.Lock()
	next := s.next
	s.next = nil
	s.mu.Unlock()
	if next == nil {
		return nil
	}
	next.expiry.Stop()
	<-next.made
	if h := next.helper; h != nil {
		if o.same(&h.origin) && !h.stale() {
			return h
		}
		h.end()
	}
	return nil
}

// prepare starts a spare like the helper of the step that has just begun.
func (s *spares) prepare(o *origin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		return
	}
	next := &spare{origin: *o, made: make(chan struct{})}
	next.expiry = time.AfterFunc(spareLife, func() { s.expire(next) })
	s.next = next
	go func() {
		defer close(next.made)
		if h, err := startHelper(&next.origin, nil); err == nil {
			next.helper = h
		}
	}()
}

func (s *spares) expire(old *spare) {
	s.mu.Lock()
	mine := s.next == old
	if mine {
		s.next = nil
	}
	s.mu.Unlock()
	if !mine {
		return
	}
	<-old.made
	if old.helper != nil {
		old.helper.end()
	}
}
