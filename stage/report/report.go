package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/stagewright/stagewright/stage"
)

// Renderer shows the events of a build as they come. Make one with [New],
// [Plain], [TTY], [Terminal] or [JSON].
type Renderer struct {
	mu     sync.Mutex
	out    *stickyWriter
	view   view
	now    func() time.Time
	began  time.Time // of the first event
	totals totals
	closed bool
	tick   time.Duration // between two pictures of an animated view; 0 for none
	stop   func()        // ends the goroutine that makes them; nil when there is none
}

// view is the form in which events are shown. Its methods are called one at a
// time.
type view interface {
	event(e stage.Event, now time.Time)
	close(t totals)
}

// animated is a view whose picture changes without an event, since time passes.
type animated interface {
	redraw(now time.Time)
}

// totals counts how steps ended.
type totals struct {
	ran, hit, failed, canceled int
	duration                   time.Duration
}

func (t *totals) count(s stage.Status) {
	switch s {
	case stage.Ran:
		t.ran++
	case stage.Hit:
		t.hit++
	case stage.Failed:
		t.failed++
	case stage.Canceled:
		t.canceled++
	}
}

func (t totals) steps() int { return t.ran + t.hit + t.failed + t.canceled }

// String returns "5 steps in 1.2s: 3 run, 2 cached". Ends that did not occur are
// left out, except for run and cached.
func (t totals) String() string {
	var b strings.Builder
	word := "steps"
	if t.steps() == 1 {
		word = "step"
	}
	fmt.Fprintf(&b, "%d %s in %s: %d run, %d cached", t.steps(), word, formatDuration(t.duration), t.ran, t.hit)
	if t.failed > 0 {
		fmt.Fprintf(&b, ", %d failed", t.failed)
	}
	if t.canceled > 0 {
		fmt.Fprintf(&b, ", %d canceled", t.canceled)
	}
	return b.String()
}

func newRenderer(w io.Writer, makeView func(io.Writer) view) *Renderer {
	out := &stickyWriter{w: w}
	return &Renderer{out: out, view: makeView(out), now: time.Now}
}

// Event shows one event. It is made to be given to stagewright.Options.Progress
// and stage.Request.Progress. After Close it does nothing.
func (r *Renderer) Event(e stage.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	now := r.now()
	if r.began.IsZero() {
		r.began = now
		r.animate()
	}
	if f, ok := e.(stage.StepFinished); ok {
		r.totals.count(f.Status)
	}
	r.view.event(e, now)
}

// Close writes the totals: how many steps ran, were found in the cache, failed and
// were canceled, and the time since the first event. It returns the first error of
// the writer, after which nothing more was written. It does not close the writer.
// A second call does nothing.
func (r *Renderer) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	if !r.began.IsZero() {
		r.totals.duration = r.now().Sub(r.began)
	}
	r.view.close(r.totals)
	stop, err := r.stop, r.out.err
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// animate begins to redraw an animated view, until Close.
func (r *Renderer) animate() {
	v, ok := r.view.(animated)
	if !ok || r.tick == 0 {
		return
	}
	end := make(chan struct{})
	var wg sync.WaitGroup
	r.stop = func() { close(end); wg.Wait() }
	wg.Go(func() {
		ticker := time.NewTicker(r.tick)
		defer ticker.Stop()
		for {
			select {
			case <-end:
				return
			case <-ticker.C:
			}
			r.mu.Lock()
			if !r.closed {
				v.redraw(r.now())
			}
			r.mu.Unlock()
		}
	})
}

// Modes returns the modes that [New] knows.
func Modes() []string { return []string{"auto", "plain", "tty", "json", "quiet"} }

// ModeError is a mode that [New] does not know.
type ModeError struct {
	Mode string
}

// Error names the modes that there are.
func (e *ModeError) Error() string {
	return fmt.Sprintf("report: unknown mode %q; want one of %s", e.Mode, strings.Join(Modes(), ", "))
}

// New returns the renderer of a mode that writes to w:
//
//	auto   tty when w is a terminal, else plain; "" means the same
//	plain  lines of text, see Plain
//	tty    a display that is redrawn in place, see TTY
//	json   one JSON object a line, see JSON
//	quiet  nothing at all
//
// Any other mode is a [*ModeError].
func New(mode string, w io.Writer) (*Renderer, error) {
	switch mode {
	case "", "auto", "tty":
		return TTY(w), nil
	case "plain":
		return Plain(w), nil
	case "json":
		return JSON(w), nil
	case "quiet":
		return newRenderer(w, func(io.Writer) view { return quiet{} }), nil
	}
	return nil, &ModeError{Mode: mode}
}

// quiet shows nothing: errors are returned by the build.
type quiet struct{}

func (quiet) event(stage.Event, time.Time) {}
func (quiet) close(totals)                 {}

// stickyWriter writes until the first error.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	s.err = err
	return n, err
}
