package stage

import (
	"maps"
	"slices"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
)

// Parts is what a stage was made of, as written: nothing in it is expanded. It is
// for programs that write stages in another form.
type Parts struct {
	Name          string
	Scratch       bool             // it begins with nothing
	Ref           string           // it begins with an image
	Base          Stage            // it begins with a stage; else zero
	Named         string           // it begins with the stage of that name
	Among         map[string]Stage // what Ref may mean beside images
	PerPlatform   bool             // a function chooses what it begins with
	Args          []arg.Arg        // of FromArgs
	Platform      string           // the text of OnPlatform or OnPlatformText; "$BUILDPLATFORM" of OnBuildPlatform
	Rules         *DockerRules     // of Compatible
	IgnoreOnBuild bool
	Pos           Position
	Ops           []WrittenOp
}

// WrittenOp is one operation as it was written, and where. The value of Op is the same
// pointer in all stages that were forked after the operation, so that it tells where two
// of them part.
type WrittenOp struct {
	Op    Op
	Pos   Position
	Group int // of a LayerOp: how many operations before it the group has
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
	p.Among = maps.Clone(r.among)
	if r.rules != nil {
		rules := *r.rules
		p.Rules = &rules
	}
	if r.base != nil {
		p.Base = Stage{last: r.base}
	}
	for l := s.last; l.prev != nil; l = l.prev {
		p.Ops = append(p.Ops, WrittenOp{Op: l.op, Pos: l.at.position(), Group: l.grouped()})
	}
	slices.Reverse(p.Ops)
	return p
}

// grouped is the number of links that a LayerOp groups.
func (l *link) grouped() int {
	n := 0
	if op, ok := l.op.(*LayerOp); ok {
		for x := l.prev; x != op.below; x = x.prev {
			n++
		}
	}
	return n
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

// Chosen returns what a stage of [ForPlatform] chose for a platform. The second result is
// false when the stage is none, or was not asked for that platform.
func (g *Graph) Chosen(s Stage, p platform.Platform) (Stage, bool) {
	if s.last == nil {
		return Stage{}, false
	}
	chosen, ok := g.chosen[pinKey{s.last.root, p}]
	return chosen, ok
}

// Triggered returns the operations that ONBUILD instructions of its base put at the
// beginning of a stage. They are no part of the stage as written.
func (g *Graph) Triggered(s Stage) []WrittenOp {
	if s.last == nil {
		return nil
	}
	return slices.Clone(g.triggered[s.last.root])
}
