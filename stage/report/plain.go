package report

import (
	"fmt"
	"io"
	"time"

	"github.com/stagewright/stagewright/stage"
)

// Plain returns a renderer for logs: every event that matters is a line of text,
// and none is ever taken back.
//
//	#1 [builder] COPY . /src: done 2ms (3 files, 1.2 kB)
//	#2 [builder] RUN go build -o /out/app .
//	#2 | compiling
//	#2 done 1.2s (1 file, 4.1 MB)
//	#4 [app] COPY /out/app /app: CACHED
//	to registry ghcr.io/team/app:1.0: pushed in 800ms (2 blobs, 4.1 MB; 3 there already)
//	4 steps in 1.3s: 2 run, 2 cached
//
// A step that runs a program or reads a base image is told when it starts and when
// it ends, any other only when it ends. A platform follows the stage's name where
// it is not this machine's. Lines of standard output and standard error begin with
// the number of their step and "| ".
func Plain(w io.Writer) *Renderer {
	return newRenderer(w, func(out io.Writer) view {
		return &plain{out: out, running: map[*stage.Step]*plainStep{}}
	})
}

type plain struct {
	out     io.Writer
	buf     []byte
	running map[*stage.Step]*plainStep
}

// plainStep is a step that has started.
type plainStep struct {
	told   bool // its header has been written
	stdout lines
	stderr lines
}

func (p *plain) event(e stage.Event, _ time.Time) {
	p.buf = p.buf[:0]
	switch e := e.(type) {
	case stage.StepStarted:
		s := p.step(e.Step)
		switch op := e.Step.Op.(type) {
		case *stage.RunOp:
			p.tell(e.Step, s)
		case *stage.BaseOp:
			if op.Ref != "" {
				p.tell(e.Step, s)
			}
		}
	case stage.StepProgress:
		s := p.step(e.Step)
		p.tell(e.Step, s)
	case stage.StepOutput:
		s := p.step(e.Step)
		p.tell(e.Step, s)
		stream := &s.stdout
		if e.Stream == stage.Stderr {
			stream = &s.stderr
		}
		stream.add(e.Data, func(line []byte) { p.line(e.Step, line) })
	case stage.StepFinished:
		p.finished(e)
	case stage.Notice:
		p.buf = append(p.buf, "note: "...)
		p.buf = append(p.buf, escape(e.Text)...)
		p.buf = append(p.buf, '\n')
	case stage.SinkFinished:
		p.buf = append(p.buf, delivered(e)...)
		p.buf = append(p.buf, '\n')
	}
	p.write()
}

func (p *plain) step(step *stage.Step) *plainStep {
	s := p.running[step]
	if s == nil {
		s = &plainStep{}
		p.running[step] = s
	}
	return s
}

// tell writes the header of a step, once.
func (p *plain) tell(step *stage.Step, s *plainStep) {
	if !s.told {
		s.told = true
		p.header(step)
		p.buf = append(p.buf, '\n')
	}
}

func (p *plain) header(step *stage.Step) {
	p.buf = fmt.Appendf(p.buf, "#%d [%s] %s", step.ID, name(step), escape(step.Text))
}

func (p *plain) line(step *stage.Step, line []byte) {
	p.buf = fmt.Appendf(p.buf, "#%d | ", step.ID)
	p.buf = appendText(p.buf, line)
	p.buf = append(p.buf, '\n')
	if len(p.buf) >= maxLine {
		p.write()
	}
}

func (p *plain) finished(e stage.StepFinished) {
	s := p.step(e.Step)
	delete(p.running, e.Step)
	line := func(line []byte) { p.line(e.Step, line) }
	s.stdout.flush(line)
	s.stderr.flush(line)
	if s.told {
		p.buf = fmt.Appendf(p.buf, "#%d %s\n", e.Step.ID, ending(e))
		return
	}
	p.header(e.Step)
	p.buf = fmt.Appendf(p.buf, ": %s\n", ending(e))
}

// write hands on what was collected: what belongs together in one call.
func (p *plain) write() {
	if len(p.buf) > 0 {
		_, _ = p.out.Write(p.buf) // the writer keeps its error
		p.buf = p.buf[:0]
	}
}

func (p *plain) close(t totals) {
	fmt.Fprintln(p.out, t)
}
