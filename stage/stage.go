package stage

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
)

// Stage is an immutable description of one build stage: a base, operations in
// order, and a name. Make one with [From], [Scratch], [ForPlatform] or [Named];
// the zero Stage is a mistake that [Compile] reports.
//
// A Stage is safe for concurrent use, and copying it is free.
type Stage struct {
	last *link
	at   *Position // where what follows was written, when At said so
}

// link is one operation and what came before it. Links are shared by all stages
// forked from them, and their addresses are the identity of an operation.
type link struct {
	prev *link // nil for the first link of a stage
	root *root // the beginning of the stage, the same for all its links
	op   Op    // nil in the first link
	at   mark
}

// root is the beginning of a stage: exactly one of ref, base, choose, named and
// scratch says what it stands on.
type root struct {
	name    string
	args    []arg.Arg
	pinText string // FROM --platform
	rules   *DockerRules
	ref     string
	base    *link
	choose  func(platform.Platform) Stage
	named   string
	scratch bool
	err     error
	at      mark

	ignoreOnBuild bool
	among         map[string]Stage // what ref can mean beside images
}

// From begins a stage on the image with the given reference, or on another
// stage. A reference may use ${NAME} of [FromArgs] and of the platform arguments
// (TARGETARCH and the like); one without tag means "latest". A stage hands down
// its files, its configuration and its arguments.
func From[B Base](base B, opts ...FromOption) Stage {
	r := &root{at: here()}
	switch b := any(base).(type) {
	case Stage:
		if b.last == nil {
			r.err = errZeroStage
		}
		r.base = b.last
	default:
		r.ref = fmt.Sprint(b)
	}
	return begin(r, opts)
}

// Scratch begins a stage with no files and, as its only configuration, working
// directory "/" and Docker's default PATH.
func Scratch(opts ...FromOption) Stage {
	return begin(&root{at: here(), scratch: true}, opts)
}

// ForPlatform is a stage that is chosen anew for each platform that is built.
// choose is called once a platform during [Compile] and must depend on nothing
// but its argument.
func ForPlatform(choose func(platform.Platform) Stage) Stage {
	r := &root{at: here(), choose: choose}
	if choose == nil {
		r.err = errors.New("ForPlatform(nil): no function to choose the stage")
	}
	return begin(r, nil)
}

// Named is the stage that carries the given name in the graph being compiled:
// one that a target reaches, or one listed in Options.Stages. Prefer the Stage
// value itself; a name helps where the stage is made elsewhere.
func Named(name string) Stage {
	return begin(&root{at: here(), named: name}, nil)
}

var errZeroStage = errors.New("a zero Stage was used: begin with stage.From or stage.Scratch")

func begin(r *root, opts []FromOption) Stage {
	if err := checkOptions(opts); err != nil {
		r.err, opts = cmp.Or(r.err, err), nil
	}
	for _, o := range opts {
		o(r)
	}
	if r.err == nil && r.name != "" {
		r.err = checkName(r.name)
	}
	return Stage{last: &link{root: r, at: r.at}}
}

func checkName(name string) error {
	lower := strings.ToLower(name)
	if lower == "scratch" || lower == "context" {
		return fmt.Errorf("stage name %q is reserved", name)
	}
	for i, c := range []byte(lower) {
		letter := c >= 'a' && c <= 'z'
		if letter || i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			continue
		}
		return fmt.Errorf("stage name %q: a name is a letter followed by letters, digits, '-', '_' and '.'", name)
	}
	return nil
}

// then appends an operation. It must be called by an exported method directly.
func (s Stage) then(at mark, op Op) Stage {
	if s.at != nil {
		at = mark{given: s.at}
	}
	if s.last == nil {
		return Stage{last: &link{root: &root{err: errZeroStage, at: at}, at: at}}
	}
	return Stage{last: &link{prev: s.last, root: s.last.root, op: op, at: at}, at: s.at}
}

// With applies a fragment: a function that adds operations. It reads in order
// where nested calls would read inside out.
func (s Stage) With(fragments ...func(Stage) Stage) Stage {
	for _, f := range fragments {
		s = f(s)
	}
	return s
}

// Needs makes this stage wait for others that it takes no files from, such as a
// stage that runs the tests: when one of them fails, this one is not built.
// They are no part of any cache key.
func (s Stage) Needs(stages ...Stage) Stage {
	if s.last == nil {
		return s.then(here(), nil)
	}
	at := here()
	for _, need := range stages {
		if need.last == nil {
			return s.then(at, &badOp{"NEEDS", errZeroStage, ""})
		}
	}
	return s.then(at, &NeedsOp{Stages: slices.Clone(stages)})
}

// String returns the name of the stage, or where it begins when it has none.
func (s Stage) String() string {
	if s.last == nil {
		return "zero stage"
	}
	return "stage " + s.last.root.label()
}

func (r *root) label() string {
	if r.name != "" {
		return r.name
	}
	if r.named != "" {
		return r.named
	}
	return "at " + r.at.position().String()
}
