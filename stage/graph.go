package stage

import (
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
)

// Graph is the compiled form of stages: the steps that the targets reach, in an
// order in which every step comes after those that it depends on. [Compile] makes
// it. A Graph is immutable and safe for concurrent use.
type Graph struct {
	steps   []*Step
	targets []Target
	stages  []Stage       // as they were given
	points  map[point]int // where each link ended up

	platforms []platform.Platform // by the numbers that points have, from 1
	build     platform.Platform
	pins      map[pinKey]platform.Platform // the platform of a stage when one is asked for
	chosen    map[pinKey]Stage             // what ForPlatform gave

	triggered map[*root][]WrittenOp // what ONBUILD instructions added
}

// Step is one operation of a graph. It must not be changed.
type Step struct {
	// ID is the step's index in Graph.Steps.
	ID int
	// Stage is the name of the stage, or a number for one without a name.
	Stage string
	// Platform is what the step is built for.
	Platform platform.Platform
	// Op is the operation, with every text expanded.
	Op Op
	// Parent is the step whose files and configuration this one continues;
	// -1 for a BaseOp.
	Parent int
	// Inputs are the steps whose files the operation reads, beside its parent:
	// of a CopyOp the source, of a RunOp the sources of its bind and cache mounts in
	// order, of a MergeOp and an ApplyOp the stages, of a NeedsOp what must have
	// succeeded. A source that is no step
	// (the context, a directory, a file system) has no entry.
	Inputs []int
	// Config is the image configuration after the step.
	Config *image.Config
	// Author is the author of the image after the step; empty for the base's.
	Author string
	// Text is the operation as a Dockerfile spells it, for progress and errors.
	Text string
	// History is the operation as Docker's image history tells it; empty for a
	// BaseOp, a NeedsOp, ONBUILD and Options.Labels, which have no entry.
	History string
	// Deferred are names of variables that only the unresolved base image can
	// define; texts that use them are not expanded.
	Deferred []string

	at mark
}

// Pos returns where the operation was written.
func (s *Step) Pos() Position { return s.at.position() }

// Fail wraps err as the failure of this step: an [*Error] that names the
// caller's position, the stage and the step. fix says what to do about it and
// may be empty.
func (s *Step) Fail(err error, fix string) *Error {
	return &Error{Pos: s.Pos(), Stage: s.Stage, Step: s.Text, Err: err, Fix: fix}
}

// Target is one stage that was asked for, on one platform.
type Target struct {
	Stage    string // its name, or a number
	Platform platform.Platform
	Step     int // the last step of the stage
	// Declared is the platform that the image says it is for: in a stage with the rules
	// of Dockerfiles the one that was asked for, whatever the stage is pinned to. Zero is
	// what the base says.
	Declared platform.Platform
}

// Steps returns the steps. The slice must not be changed.
func (g *Graph) Steps() []*Step { return g.steps }

// Targets returns what was asked for: each target on each platform, in the order
// given, all platforms of the first target first.
func (g *Graph) Targets() []Target { return g.targets }

// Step returns the number of the last step of a stage on a platform. The second
// result is false when the graph does not hold the stage. A stage that is pinned
// to a platform is found under any.
func (g *Graph) Step(s Stage, p platform.Platform) (int, bool) {
	if s.last == nil {
		return 0, false
	}
	own := p
	if pinned, ok := g.pins[pinKey{s.last.root, p}]; ok {
		own = pinned
	}
	number, ok := g.numbered(own)
	if !ok {
		return 0, false
	}
	at := point{link: s.last, platform: number}
	if id, ok := g.points[at]; ok {
		return id, true
	}
	if at.target, ok = g.numbered(p); !ok {
		return 0, false
	}
	id, ok := g.points[at]
	return id, ok
}

// Deferred reports whether a step waits for a base image that was not resolved.
// Such a graph can be printed and checked, not executed.
func (g *Graph) Deferred() bool {
	for _, s := range g.steps {
		if b, ok := s.Op.(*BaseOp); ok && b.Ref != "" && b.Digest == "" || len(s.Deferred) > 0 {
			return true
		}
	}
	return false
}
