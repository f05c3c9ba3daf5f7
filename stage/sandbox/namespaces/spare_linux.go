package namespaces

import (
	"os"
	"sync"
	"time"

	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// spareLife is how long a helper waits for a step.
const spareLife = 2 * time.Second

// spares has a helper started ahead: while one step runs, the helper of the next one,
// which is likely to be alike, is made, and mounts its /proc, /dev and /sys. Of a step that does nothing that is the longest
// part: 3 to 4 ms for its namespaces and the start of this program, 2 ms more for
// an ordinary user, since a process in a new user namespace begins as a copy of all page tables, and 1 ms for the mounts.
// Nothing is started before the first step, and at most one helper waits.
type spares struct {
	mu   sync.Mutex
	next *spare
}

// spare is a helper in the making, or made.
type spare struct {
	origin origin
	system child.System  // what it mounts
	made   chan struct{} // closed when helper is set
	helper *helper       // nil if it could not be started: the step that needs it will say why
	expiry *time.Timer
}

// helper returns one for origin: the spare, or a new one. Sockets are inherited, and emulators are registered before the mounts that a spare
// has already.
func (s *spares) helper(o *origin, c *child.Config, sockets []*os.File) (*helper, error) {
	if len(sockets) == 0 && len(c.Emulators) == 0 {
		if h := s.take(o, &c.System); h != nil {
			return h, nil
		}
	}
	return startHelper(o, sockets)
}

func (s *spares) take(o *origin, system *child.System) *helper {
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
		if o.same(&h.origin) && *system == next.system && !h.stale() {
			return h
		}
		h.end()
	}
	return nil
}

// prepare starts a spare like the helper of the step that has just begun.
func (s *spares) prepare(o *origin, system child.System) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		return
	}
	next := &spare{origin: *o, system: system, made: make(chan struct{})}
	next.expiry = time.AfterFunc(spareLife, func() { s.expire(next) })
	s.next = next
	go func() {
		defer close(next.made)
		if h, err := startHelper(&next.origin, nil); err == nil {
			next.helper = h
			_ = child.Send(h.config, &child.Config{Ahead: true, System: system}) // one that has ended is stale
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
