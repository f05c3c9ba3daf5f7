package dockerfile

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// program is what the targets of a graph were made of, as pieces that can be written
// one after the other.
type program struct {
	graph     *stage.Graph
	platforms []platform.Platform
	pieces    []*piece // each after those that it needs
	targets   []*piece
	ends      map[end]*piece
	values    map[stage.Stage]*piece        // those that were asked for
	triggers  map[stage.Stage][]stage.Stage // by the beginning of a stage: what the ONBUILD of its base reads
	same      map[stage.Stage]stage.Stage   // what a stage of a trigger stands for
	problems  problems
}

// piece is a part of a stage that something refers to: the stage from its beginning, or
// from an earlier piece of it, up to an operation.
type piece struct {
	parts stage.Parts
	value stage.Stage // a stage that the piece belongs to
	below *piece      // the piece of the same stage that it goes on from; nil at the beginning
	ops   []stage.WrittenOp
	end   end
	last  bool // nothing of its stage goes on from it
	used  bool // another piece refers to it
	name  string
}

// end identifies a point of a stage: its beginning, and the operation that it ends with.
type end struct {
	beginning stage.Stage
	op        stage.Op // nil for the beginning itself
}

// pos is where the piece begins.
func (c *piece) pos() stage.Position {
	if c.below != nil && len(c.ops) > 0 {
		return c.ops[0].Pos
	}
	return c.parts.Pos
}

// family is all that is known of one stage: the ways that go on from its beginning.
type family struct {
	values []stage.Stage
	cuts   map[stage.Op]bool     // where a piece ends
	next   map[stage.Op]stage.Op // what follows; a second one is a fork
}

// readProgram takes the targets of a graph apart.
func readProgram(g *stage.Graph) *program {
	p := &program{graph: g, ends: map[end]*piece{}, values: map[stage.Stage]*piece{}, triggers: map[stage.Stage][]stage.Stage{}, same: map[stage.Stage]stage.Stage{}}
	for _, t := range g.Targets() {
		if !slices.Contains(p.platforms, t.Platform) {
			p.platforms = append(p.platforms, t.Platform)
		}
	}
	r := reader{program: p, families: map[stage.Stage]*family{}, seen: map[end]bool{}}
	r.collect(g.Stages())
	r.collectTriggers()
	var pieces []*piece
	for _, f := range r.order {
		pieces = append(pieces, p.cut(f)...)
	}
	p.sort(pieces)
	for _, s := range g.Stages() {
		p.targets = append(p.targets, p.piece(s))
	}
	return p
}

// reader finds the stages of a program.
type reader struct {
	program  *program
	families map[stage.Stage]*family
	order    []*family
	seen     map[end]bool
}

// collect adds stages with all that they refer to.
func (r *reader) collect(todo []stage.Stage) {
	for len(todo) > 0 {
		s := todo[0]
		todo = todo[1:]
		parts := s.Parts()
		at := endOf(s, parts)
		if r.seen[at] {
			continue
		}
		r.seen[at] = true
		f := r.families[at.beginning]
		if f == nil {
			f = &family{cuts: map[stage.Op]bool{}, next: map[stage.Op]stage.Op{}}
			r.families[at.beginning] = f
			r.order = append(r.order, f)
		}
		f.add(s, parts, at)
		todo = append(todo, r.program.needs(s, parts)...)
	}
}

// collectTriggers adds the stages that only ONBUILD instructions of bases name. A
// Dockerfile's triggers are read with stages of their own, which stand for those that are
// there already.
func (r *reader) collectTriggers() {
	for i := 0; i < len(r.order); i++ {
		s := r.order[i].values[0]
		var list []stage.Stage
		for _, op := range r.program.graph.Triggered(s) {
			list = append(list, stagesOf(op.Op)...)
		}
		for n, named := range list {
			parts := named.Parts()
			for _, f := range r.order {
				if known := f.values[0].Parts(); known.Name == parts.Name && known.Pos == parts.Pos {
					r.program.same[named] = f.values[0]
					list[n] = f.values[0]
				}
			}
		}
		r.collect(list)
		if len(list) > 0 {
			r.program.triggers[s.Beginning()] = list
		}
	}
}

func endOf(s stage.Stage, parts stage.Parts) end {
	e := end{beginning: s.Beginning()}
	if n := len(parts.Ops); n > 0 {
		e.op = parts.Ops[n-1].Op
	}
	return e
}

// piece is the one that ends where a stage does.
func (p *program) piece(s stage.Stage) *piece {
	if known, ok := p.same[s]; ok {
		s = known
	}
	c, ok := p.values[s]
	if !ok {
		c = p.ends[endOf(s, s.Parts())]
		p.values[s] = c
	}
	return c
}

func (f *family) add(s stage.Stage, parts stage.Parts, at end) {
	f.values = append(f.values, s)
	f.cuts[at.op] = true
	var last stage.Op
	for _, op := range parts.Ops {
		if next, ok := f.next[last]; ok && next != op.Op {
			f.cuts[last] = true
		}
		f.next[last] = op.Op
		last = op.Op
	}
}

// cut makes the pieces of a stage.
func (p *program) cut(f *family) []*piece {
	var pieces []*piece
	for _, s := range f.values {
		parts := s.Parts()
		var below *piece
		first := 0
		for i := 0; i <= len(parts.Ops); i++ {
			at := end{beginning: s.Beginning()}
			if i > 0 {
				at.op = parts.Ops[i-1].Op
			}
			if !f.cuts[at.op] {
				continue
			}
			c := p.ends[at]
			if c == nil {
				c = &piece{parts: parts, value: s, below: below, ops: parts.Ops[first:i], end: at, last: f.next[at.op] == nil}
				p.ends[at] = c
				pieces = append(pieces, c)
			}
			below, first = c, i
		}
	}
	return pieces
}

// sort puts pieces into an order in which each comes after those that it needs, and
// otherwise as they were written.
func (p *program) sort(pieces []*piece) {
	slices.SortStableFunc(pieces, func(a, b *piece) int {
		x, y := a.pos(), b.pos()
		return cmp.Or(strings.Compare(x.File, y.File), x.Line-y.Line, x.Column-y.Column)
	})
	done := map[*piece]bool{}
	var visit func(c *piece)
	visit = func(c *piece) {
		if done[c] {
			return
		}
		done[c] = true
		for _, below := range p.below(c) {
			below.used = true
			visit(below)
		}
		p.pieces = append(p.pieces, c)
	}
	for _, c := range pieces {
		visit(c)
	}
}

// below are the pieces that a piece refers to.
func (p *program) below(c *piece) []*piece {
	var list []*piece
	if c.below != nil {
		list = append(list, c.below)
	} else {
		for _, s := range p.begins(c.value, c.parts) {
			list = append(list, p.piece(s))
		}
	}
	for _, op := range c.ops {
		for _, s := range stagesOf(op.Op) {
			list = append(list, p.piece(s))
		}
	}
	return list
}

// needs are the stages that a stage refers to.
func (p *program) needs(s stage.Stage, parts stage.Parts) []stage.Stage {
	list := p.begins(s, parts)
	for _, op := range parts.Ops {
		list = append(list, stagesOf(op.Op)...)
	}
	return list
}

// begins are the stages that a stage can begin with, and those that what they trigger
// reads.
func (p *program) begins(s stage.Stage, parts stage.Parts) []stage.Stage {
	var list []stage.Stage
	if parts.Base != (stage.Stage{}) {
		list = append(list, parts.Base)
	}
	among := p.among(s, parts)
	for _, key := range slices.Sorted(maps.Keys(among)) {
		list = append(list, among[key])
	}
	if parts.PerPlatform {
		for _, target := range p.platforms {
			if chosen, ok := p.graph.Chosen(s, target); ok {
				list = append(list, chosen)
			}
		}
	}
	return append(list, p.triggers[s.Beginning()]...)
}

// among are the stages that a base's reference can mean. Where it means an image, another
// value of an argument is expected to name an image too.
func (p *program) among(s stage.Stage, parts stage.Parts) map[string]stage.Stage {
	list := map[string]stage.Stage{}
	meant := false
	for key, candidate := range parts.Among {
		chosen := slices.ContainsFunc(p.platforms, func(target platform.Platform) bool {
			begin, ok1 := p.graph.Step(s.Beginning(), target)
			same, ok2 := p.graph.Step(candidate, target)
			return ok1 && ok2 && begin == same
		})
		meant = meant || chosen
		if chosen || key != "scratch" && canBe(parts.Ref, key) {
			list[key] = candidate
		}
	}
	if !meant {
		return nil
	}
	return list
}

// canBe reports whether a text with variables can stand for another one, as far as its
// ends tell.
func canBe(text, value string) bool {
	first, last := strings.IndexByte(text, '$'), strings.LastIndexByte(text, '}')
	if strings.ContainsAny(text, "\"'\\`") || first < 0 || last < first || strings.ContainsRune(text[last:], '$') {
		return true
	}
	rest, ok := strings.CutPrefix(value, text[:first])
	return ok && strings.HasSuffix(rest, text[last+1:])
}

// stagesOf are the stages that an operation refers to.
func stagesOf(op stage.Op) []stage.Stage {
	var list []stage.Stage
	add := func(from stage.Source) {
		if s, ok := from.(stage.Stage); ok {
			list = append(list, s)
		}
	}
	switch op := op.(type) {
	case *stage.CopyOp:
		add(op.From)
	case *stage.RunOp:
		for _, m := range op.Mounts {
			add(m.From)
		}
	case *stage.RunDefaultsOp:
		for _, m := range runDefaults(op).Mounts {
			add(m.From)
		}
	case *stage.NeedsOp:
		list = op.Stages
	case *stage.MergeOp:
		list = op.Stages
	case *stage.ApplyOp:
		list = []stage.Stage{op.Lower, op.Upper}
	}
	return list
}

// runDefaults are the options of RunDefaults as they are in a Run step.
func runDefaults(op *stage.RunDefaultsOp) *stage.RunOp {
	var d stage.RunOp
	for _, o := range op.Options {
		o.ApplyRun(&d)
	}
	return &d
}

// refuse records that something has no spelling in the form that is written.
func (p *program) refuse(at stage.Position, stageName, step, feature, why, fix string) {
	if line, _, more := strings.Cut(step, "\n"); more {
		step = line + " …"
	}
	known := len(p.problems.list)
	p.problems.add(at, strings.TrimSpace(step), &UnsupportedError{Feature: feature, Why: why}, fix)
	for _, e := range p.problems.list[known:] {
		e.Stage = stageName
	}
}
