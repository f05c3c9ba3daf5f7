package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/stagewright/stagewright/stage"
)

// frameTime is the time between two pictures of a terminal.
const frameTime = 100 * time.Millisecond

// TTY returns a compact renderer for people who watch, see [Terminal], when w is a
// terminal (a file such as os.Stderr that is connected to one), else the same as
// [Plain].
func TTY(w io.Writer) *Renderer {
	size, ok := terminal(w)
	if !ok {
		return Plain(w)
	}
	return Terminal(w, size)
}

// Terminal returns a renderer for a terminal that understands the control
// sequences of ECMA-48 (every one in use today), of the size that the function
// tells whenever a picture is drawn, in columns and rows. A size that is not
// positive stands for 80 and 24.
//
// Steps that run are shown in place, with the latest line of their output; what
// has been executed stays as one line, cut at the width of the terminal, and what
// the cache had is counted. It redraws ten times a second until Close, which must
// be called.
func Terminal(w io.Writer, size func() (columns, rows int)) *Renderer {
	r := newRenderer(w, func(out io.Writer) view { return &screen{out: out, size: size} })
	r.tick = frameTime
	return r
}

// screen draws the steps that run below the lines of those that have ended.
type screen struct {
	out     io.Writer
	size    func() (columns, rows int)
	running []*screenStep // in the order in which they started
	sinks   []*screenSink
	began   time.Time
	ran     int
	hits    int
	ended   []string // lines that are to stay and have not been written
	drawn   []string // the lines of the picture that is on the terminal
	last    time.Time
}

// screenSink is a sink at work.
type screenSink struct {
	index    int
	start    time.Time
	text     string
	progress string
}

type screenStep struct {
	step     *stage.Step
	start    time.Time
	text     string
	output   lines
	latest   string // the latest line of output
	progress string
}

func (v *screen) event(e stage.Event, now time.Time) {
	if v.began.IsZero() {
		v.began = now
	}
	switch e := e.(type) {
	case stage.StepStarted:
		v.find(e.Step, now)
	case stage.StepOutput:
		s := v.find(e.Step, now)
		s.output.add(e.Data, func(line []byte) {
			if len(line) > 0 {
				s.latest = string(line)
			}
		})
	case stage.StepProgress:
		s := v.find(e.Step, now)
		s.progress = transferred(e.What, e.Done, e.Total)
	case stage.StepFinished:
		v.finished(e)
	case stage.Notice:
		v.ended = append(v.ended, "note: "+escape(e.Text))
	case stage.SinkStarted:
		v.sinks = append(v.sinks, &screenSink{index: e.Index, start: now, text: "to " + escape(e.Name)})
	case stage.SinkProgress:
		if at := v.sink(e.Index); at >= 0 {
			v.sinks[at].progress = transferred(e.What, e.Done, e.Total)
		}
	case stage.SinkFinished:
		v.delivered(e)
	}
	// A build of many short steps must not wait for the terminal: what comes soon
	// after a picture is in the next one, which the ticker or Close draws.
	if now.Sub(v.last) >= frameTime {
		v.redraw(now)
	}
}

func (v *screen) find(step *stage.Step, now time.Time) *screenStep {
	for _, s := range v.running {
		if s.step == step {
			return s
		}
	}
	s := &screenStep{step: step, start: now, text: title(step)}
	v.running = append(v.running, s)
	return s
}

// sink finds a sink that works, or -1.
func (v *screen) sink(index int) int {
	return slices.IndexFunc(v.sinks, func(s *screenSink) bool { return s.index == index })
}

func (v *screen) delivered(e stage.SinkFinished) {
	if at := v.sink(e.Index); at >= 0 {
		v.sinks = slices.Delete(v.sinks, at, at+1)
	}
	width, _ := v.columns()
	line := fit(clock(e.Duration)+delivered(e), width)
	if e.Err != nil {
		line = "\x1b[1;31m" + line + "\x1b[0m"
	}
	v.ended = append(v.ended, line)
}

// title is a step in one line.
func title(s *stage.Step) string {
	return "[" + name(s) + "] " + escape(firstLine(s.Text))
}

func (v *screen) finished(e stage.StepFinished) {
	for i, s := range v.running {
		if s.step == e.Step {
			v.running = append(v.running[:i:i], v.running[i+1:]...)
			break
		}
	}
	width, _ := v.columns()
	switch e.Status {
	case stage.Hit:
		v.hits++
	case stage.Ran:
		v.ran++
		line := clock(e.Duration) + title(e.Step)
		if files := formatFiles(e.StepReport); files != "" {
			line = fit(line, width-len(files)-3) + " (" + files + ")"
		}
		v.ended = append(v.ended, fit(line, width))
	case stage.Failed:
		v.ended = append(v.ended, "\x1b[1;31m"+fit(clock(e.Duration)+"FAILED "+title(e.Step), width)+"\x1b[0m", indent+reason(e.Err))
	}
}

// indent is the width of what clock returns.
const indent = "        "

// clock is a time, right-aligned in a column.
func clock(d time.Duration) string { return fmt.Sprintf("%7s ", formatDuration(d)) }

func (v *screen) columns() (width, height int) {
	width, height = v.size()
	if width <= 0 {
		width = 80
	}
	if height <= 0 {
		height = 24
	}
	return width, height
}

// picture is what the terminal shall show of what is going on. It leaves a row
// free, where the cursor stands.
func (v *screen) picture(now time.Time, width, height int) []string {
	room := max(height-2, 1)
	var list []string
	for i, s := range v.running {
		if left := len(v.running) - i; len(list) == room-1 && left > 1 {
			list = append(list, fmt.Sprintf("%s%d more", indent, left))
			break
		}
		list = append(list, fit(clock(now.Sub(s.start))+s.text, width))
		below := s.progress
		if s.latest != "" {
			below = "| " + s.latest
		}
		// Output is shown where each step that follows still has a row.
		if below != "" && len(list)+len(v.running)-i <= room {
			list = append(list, fit(indent+escape(below), width))
		}
	}
	for _, s := range v.sinks {
		if len(list) >= room {
			break
		}
		list = append(list, fit(clock(now.Sub(s.start))+s.text+" "+escape(s.progress), width))
	}
	return append(list, fit(fmt.Sprintf("%s%d run, %d cached", clock(now.Sub(v.began)), v.ran, v.hits), width))
}

// redraw replaces the picture, in one write. Wrapping at the margin is off while
// it draws, so that a character whose width was misjudged costs no row.
func (v *screen) redraw(now time.Time) {
	v.last = now
	width, height := v.columns()
	lines := v.picture(now, width, height)
	v.draw(lines, width)
}

func (v *screen) draw(picture []string, width int) {
	if len(v.ended) == 0 && slices.Equal(picture, v.drawn) {
		return
	}
	var b strings.Builder
	if rows := occupied(v.drawn, width); rows > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", rows)
	}
	for _, line := range v.ended {
		b.WriteString(line + "\n")
	}
	if len(picture) > 0 {
		b.WriteString("\x1b[?7l")
		for _, line := range picture {
			b.WriteString(line + "\n")
		}
		b.WriteString("\x1b[?7h")
	}
	_, _ = io.WriteString(v.out, b.String()) // the writer keeps its error
	v.ended, v.drawn = v.ended[:0], picture
}

// occupied is how many rows lines take. They were cut at the width of their time;
// a terminal that has become narrower since has wrapped them.
func occupied(list []string, width int) int {
	rows := 0
	for _, line := range list {
		rows += max(1, (textWidth(line)+width-1)/width)
	}
	return rows
}

func (v *screen) close(t totals) {
	width, _ := v.columns()
	v.ended = append(v.ended, t.String())
	v.draw(nil, width)
}
