package dockerfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// SyntaxError is a text that is not a Dockerfile: what is wrong with it. It is
// the cause in a [stage.Error], which has the place and what to write instead.
type SyntaxError struct {
	Instruction string // "COPY"; empty when no instruction is concerned
	Msg         string
}

// Error tells what is wrong.
func (e *SyntaxError) Error() string { return e.Msg }

// UnknownError is a word where a Dockerfile takes one of a few others.
type UnknownError struct {
	Kind  string   // "instruction", "flag of COPY", "option of a cache mount", "stage", "build argument"
	Name  string   // as written
	Near  string   // the one that was probably meant; empty when none is near
	Known []string // what there is
}

// Error names the word and its kind.
func (e *UnknownError) Error() string { return fmt.Sprintf("unknown %s %q", e.Kind, e.Name) }

// fix says what to write instead.
func (e *UnknownError) fix() string {
	switch {
	case e.Near != "":
		return "did you mean " + e.Near + "?"
	case len(e.Known) > 0:
		return "known: " + strings.Join(e.Known, ", ")
	}
	return ""
}

func unknown(kind, name string, known []string) *UnknownError {
	e := &UnknownError{Kind: kind, Name: name, Known: slices.Sorted(slices.Values(known))}
	if near := arg.Near(name, e.Known); len(near) > 0 {
		e.Near = near[0]
	}
	return e
}

// UnsupportedError is Dockerfile syntax that exists, but that this package does
// not build.
type UnsupportedError struct {
	Feature string // "RUN --device"
	Why     string
}

// Error names the feature.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s is not supported: %s", e.Feature, e.Why)
}

// LintError is a Dockerfile that asks, with "# check=error=true", for warnings
// to be errors, and has some.
type LintError struct{ Warnings []Warning }

// Error lists the warnings, one a line.
func (e *LintError) Error() string {
	lines := make([]string, 0, len(e.Warnings)+1)
	lines = append(lines, "the file has \"# check=error=true\", and warnings:")
	for _, w := range e.Warnings {
		lines = append(lines, "\t"+w.String())
	}
	return strings.Join(lines, "\n")
}

// problems collects every mistake of a text.
type problems struct{ list stage.Errors }

// maxProblems bounds how many mistakes of one text are reported.
const maxProblems = 100

func (p *problems) add(at stage.Position, step string, err error, fix string) {
	if len(p.list) >= maxProblems {
		return
	}
	p.list = append(p.list, &stage.Error{Pos: at, Step: step, Err: err, Fix: fix})
}

func (p *problems) unknown(at stage.Position, step string, e *UnknownError) {
	p.add(at, step, e, e.fix())
}

// err returns the mistakes in the order of the text.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b *stage.Error) int {
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Column - b.Pos.Column
	})
	return p.list
}
