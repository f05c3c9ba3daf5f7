package dockerfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagewright/stagewright/stage"
)

// OnBuild turns the ONBUILD triggers of a base into operations on s. It is what
// stage.Options.OnBuild wants. A trigger is one instruction, any but ONBUILD, FROM
// and MAINTAINER; COPY --from and mounts name images. Use [File.OnBuild] for the
// stages of a Dockerfile, whose stages triggers can name.
func OnBuild(triggers []string, s stage.Stage) (stage.Stage, error) {
	name := s.Parts().Pos.File
	f := &File{name: name, escape: '\\', src: newSource(name, nil), lint: &linter.Config{}}
	return f.OnBuild(triggers, s)
}

// OnBuild is [OnBuild] for stages of this file: triggers may name its stages and
// named contexts.
func (f *File) OnBuild(triggers []string, s stage.Stage) (stage.Stage, error) {
	begun := s.Parts()
	here := len(f.stages)
	for i, known := range f.stages {
		if known.at == begun.Pos {
			here = i
		}
	}
	var p problems
	child := &buildStage{at: begun.Pos}
	lines := f.triggers(triggers, child, &p)
	if err := p.err(); err != nil {
		return stage.Stage{}, err
	}
	target := ""
	if begun.Rules != nil {
		target = begun.Rules.Target
	}
	return f.build(target, func(b *builder) stage.Stage {
		s := s
		for _, l := range lines {
			s = b.operation(here, s.At(l.at), l)
		}
		return s
	})
}

// triggers reads the instructions of ONBUILD. They stand where the stage that they run
// in begins. What is wrong is added to p, or left out when p is nil.
func (f *File) triggers(texts []string, s *buildStage, p *problems) []line {
	var lines []line
	for _, text := range texts {
		first, last := 1, 1
		if s.Location != nil {
			first, last = s.Location[0].Start.Line, s.Location[len(s.Location)-1].End.Line
		}
		l, err := trigger(text, first, last)
		if err != nil {
			if p != nil {
				p.add(s.at, "ONBUILD "+text, err, "the trigger is written in the base; build that anew, or use another base")
			}
			continue
		}
		l.at = s.at
		if p != nil {
			var own problems
			f.checkWords(l.node, &own)
			f.checkRun(l.node, &own)
			for _, e := range own.list {
				p.add(s.at, "ONBUILD "+text, e.Err, e.Fix)
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// trigger reads one trigger, as if it stood in lines first to last.
func trigger(text string, first, last int) (line, error) {
	tree, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return line{}, err
	}
	if n := len(tree.AST.Children); n != 1 {
		return line{}, fmt.Errorf("%d instructions in one trigger", n)
	}
	node := tree.AST.Children[0]
	node.StartLine, node.EndLine = first, last
	switch name := strings.ToUpper(node.Value); name {
	case "ONBUILD", "FROM", "MAINTAINER":
		return line{}, fmt.Errorf("%s cannot be a trigger", name)
	}
	value, err := instructions.ParseInstructionWithLinter(node, linter.New(&linter.Config{}))
	if err != nil {
		return line{}, err
	}
	command, ok := value.(instructions.Command)
	if !ok {
		return line{}, errors.New("no instruction of a stage")
	}
	return line{command: command, node: node, trigger: true}, nil
}
