package dockerfile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// Stages returns the names of the stages in the order of the file: what [File.Target]
// takes. A stage without a name has its number instead, counted from 0: what
// [File.Numbered] takes.
func (f *File) Stages() []string {
	names := make([]string, len(f.stages))
	for i, s := range f.stages {
		if names[i] = s.Name; names[i] == "" {
			names[i] = strconv.Itoa(i)
		}
	}
	return names
}

// index finds a stage by the name of a target; "" is the last one. Of two stages with
// one name the later counts.
func (f *File) index(target string) (int, error) {
	if target == "" {
		return len(f.stages) - 1, nil
	}
	if i, ok := f.named(target); ok {
		return i, nil
	}
	var known []string
	for _, s := range f.stages {
		if s.Name != "" {
			known = append(known, s.Name)
		}
	}
	err := unknown("stage", target, known)
	err.Known = known // in their order
	var fix string
	switch {
	case len(known) == 0:
		fix = "no stage has a name; give one with FROM IMAGE AS NAME"
	case err.Near != "" && len(known) > 1:
		fix = err.fix() + " The stages are " + strings.Join(known, ", ")
	default:
		fix = err.fix()
	}
	return 0, &stage.Error{Pos: stage.Position{File: f.name}, Err: err, Fix: fix}
}

// named is the last stage of the file with a name, in whatever letter case.
func (f *File) named(name string) (int, bool) {
	return f.before(len(f.stages), strings.ToLower(name))
}

// before is the stage that FROM name means in stage i: the latest one above it.
// Unlike elsewhere, letter case counts.
func (f *File) before(i int, name string) (int, bool) {
	if name == "" {
		return 0, false
	}
	for _, j := range slices.Backward(f.byName[name]) {
		if j < i {
			return j, true
		}
	}
	return 0, false
}

// from is the stage that COPY --from means: a number or a name. A number that is
// no stage is a mistake, a name that is none is an image or a named context.
func (f *File) from(text string) (i int, isStage bool, err error) {
	if n, err := strconv.Atoi(text); err == nil {
		if n < 0 || n >= len(f.stages) {
			return 0, false, unknown("stage", text, f.Stages())
		}
		return n, true, nil
	}
	i, isStage = f.named(text)
	return i, isStage, nil
}

// checkSources finds what is wrong with COPY --from whatever is built.
func (f *File) checkSources(p *problems) {
	for i, s := range f.stages {
		f.checkBase(i, s, p)
		for _, l := range s.lines {
			c, ok := l.command.(*instructions.CopyCommand)
			if !ok || c.From == "" {
				continue
			}
			at := f.src.find(l.node, "--from")
			if strings.Contains(strings.TrimSuffix(c.From, "$"), "$") {
				p.add(at, shortened(l.node), &SyntaxError{Instruction: "COPY", Msg: "--from=" + c.From + " has a variable, which is not expanded there"},
					"name the stage in between: FROM "+c.From+" AS files, and COPY --from=files")
				continue
			}
			j, isStage, err := f.from(c.From)
			switch {
			case err != nil:
				e := err.(*UnknownError)
				p.unknown(at, shortened(l.node), e)
			case isStage && j == i:
				p.add(at, shortened(l.node), &SyntaxError{Instruction: "COPY", Msg: "the stage copies from itself"},
					"copy from a stage above, or without --from from the build context")
			}
		}
	}
}

// sources are the stages that a command of stage i reads, beside the one that it
// stands in.
func (f *File) sources(c instructions.Command) []int {
	var list []int
	switch c := c.(type) {
	case *instructions.CopyCommand:
		if j, ok, err := f.from(c.From); c.From != "" && ok && err == nil {
			list = append(list, j)
		}
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(c) {
			if j, ok := f.named(m.From); ok {
				list = append(list, j)
			}
		}
	}
	return list
}

// reached are the stages that stage i needs, itself included, in the order of
// the file. base tells on which stage another one stands.
func (f *File) reached(i int, base func(int) (int, bool)) []int {
	need := make([]bool, len(f.stages))
	todo := []int{i}
	for len(todo) > 0 {
		j := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if need[j] {
			continue
		}
		need[j] = true
		if b, ok := base(j); ok {
			todo = append(todo, b)
		}
		for _, l := range f.stages[j].lines {
			todo = append(todo, f.sources(l.command)...)
		}
	}
	var list []int
	for j, n := range need {
		if n {
			list = append(list, j)
		}
	}
	return list
}

// checkBase finds a base that can be no image, where no variable decides it.
func (f *File) checkBase(i int, s *buildStage, p *problems) {
	if s.BaseName == "" || strings.Contains(s.BaseName, "$") || f.replaced(s) {
		return
	}
	base, err := arg.Expand(s.BaseName, nil, arg.Options{Quotes: arg.Word, Escape: f.escape})
	if err != nil {
		p.add(s.at, "FROM "+s.BaseName, err, "")
		return
	}
	if _, ok := f.before(i, base); ok || base == "scratch" || f.contexts.has(base) || isReference(base) {
		return
	}
	fix := "write it as REGISTRY/NAME:TAG, in lower case"
	if near := arg.Near(base, f.Stages()[:i]); len(near) > 0 {
		fix = "did you mean the stage " + near[0] + "?"
	}
	p.add(s.at, "FROM "+s.BaseName, &SyntaxError{Instruction: "FROM", Msg: strconv.Quote(base) + " is neither a stage above nor a reference of an image"}, fix)
}

// constantBase is the stage that stage i begins with, where no variable decides it.
func (f *File) constantBase(i int) (int, bool) {
	base, err := arg.Expand(f.stages[i].BaseName, nil, arg.Options{Quotes: arg.Word, Escape: f.escape})
	if err != nil {
		return 0, false
	}
	return f.before(i, base)
}
