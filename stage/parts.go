package stage

import (
	"slices"

	"github.com/stagewright/stagewright/arg"
)

// Parts is what a stage was made of, as written: nothing in it is expanded. It is
// for programs that write stages in another form.
type Parts struct {
	Name          string
	Scratch       bool         // it begins with nothing
	Ref           string       // it begins with an image
	Base          Stage        // it begins with a stage; else zero
	Named         string       // it begins with the stage of that name
	PerPlatform   bool         // a function chooses what it begins with
	Args          []arg.Arg    // of FromArgs
	Platform      string       // the text of OnPlatform or OnPlatformText; "$BUILDPLATFORM" of OnBuildPlatform
	Rules         *DockerRules // of Compatible
	IgnoreOnBuild bool
	Pos           Position
	Ops           []WrittenOp
}

// WrittenOp is one operation as it was written, and where.
type WrittenOp struct {
	Op  Op
	Pos Position
}

// Parts returns what the stage was made of. Sources that are stages are Stage
// values; two values that began with the same call of From have the same
// [Stage.Beginning].
func (s Stage) Parts() Parts {
	if s.last == nil {
		return Parts{}
	}
	r := s.last.root
	p := Parts{
		Name: r.name, Scratch: r.scratch, Ref: r.ref, Named: r.named, PerPlatform: r.choose != nil,
		Args: slices.Clone(r.args), Platform: r.pinText, IgnoreOnBuild: r.ignoreOnBuild, Pos: r.at.position(),
	}
	if r.rules != nil {
		rules := *r.rules
		p.Rules = &rules
	}
	if r.base != nil {
		p.Base = Stage{last: r.base}
	}
	for l := s.last; l.prev != nil; l = l.prev {
		p.Ops = append(p.Ops, WrittenOp{l.op, l.at.position()})
	}
	slices.Reverse(p.Ops)
	return p
}

// Beginning returns the stage as it was before its first operation. It is equal
// (==) for all stages that were forked from the same call of From.
func (s Stage) Beginning() Stage {
	l := s.last
	for l != nil && l.prev != nil {
		l = l.prev
	}
	return Stage{last: l}
}

// Stages returns the targets as they were given to Compile.
func (g *Graph) Stages() []Stage { return slices.Clone(g.stages) }
