package dockerfile

import (
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// Argument is one ARG of a Dockerfile.
type Argument struct {
	Name       string
	Default    string // as written, before expansion
	HasDefault bool
	Doc        string // of a comment "# NAME text" above it
	Stage      string // name or number of the stage; empty before the first FROM
	Pos        stage.Position
}

// Args returns the arguments that the file declares, in its order: what a build can be
// given. One name may be there several times.
func (f *File) Args() []Argument {
	var list []Argument
	add := func(c *instructions.ArgCommand, stage string, at stage.Position) {
		for _, kv := range c.Args {
			list = append(list, Argument{Name: kv.Key, Default: kv.ValueString(), HasDefault: kv.Value != nil, Doc: kv.DocComment, Stage: stage, Pos: at})
		}
	}
	for i := range f.global {
		add(&f.global[i].ArgCommand, "", f.global[i].at)
	}
	names := f.Stages()
	for i, s := range f.stages {
		for _, l := range s.lines {
			if c, ok := l.command.(*instructions.ArgCommand); ok {
				add(c, names[i], l.at)
			}
		}
	}
	return list
}

// CheckArgs reports values for arguments that no ARG of the file declares, be it one behind
// ONBUILD: a [stage.Errors] whose causes are [UnknownError]. docker build ignores such a
// value, and with it what its writer wanted. Predefined arguments need no ARG, see
// [stage.PredefinedArg]; those of BuildKit (BUILDKIT_…) are taken too.
func (f *File) CheckArgs(values arg.Values) error {
	declared := map[string]bool{}
	for _, a := range f.Args() {
		declared[a.Name] = true
	}
	for _, s := range f.stages {
		for _, l := range s.lines {
			if c, ok := l.command.(*instructions.OnbuildCommand); ok {
				for _, name := range triggeredArgs(c.Expression) {
					declared[name] = true
				}
			}
		}
	}
	var p problems
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !declared[name] && !stage.PredefinedArg(name) && !strings.HasPrefix(name, "BUILDKIT_") {
			e := unknown("build argument", name, slices.Collect(maps.Keys(declared)))
			fix := e.fix()
			if fix == "" {
				fix = "the file declares none; add ARG " + name
			}
			p.add(stage.Position{File: f.name}, "", e, fix)
		}
	}
	return p.err()
}

// triggeredArgs are the arguments that a trigger of ONBUILD declares. One that cannot be
// read declares none; the build tells what is wrong with it.
func triggeredArgs(text string) []string {
	l, err := trigger(text, 1, 1)
	if err != nil {
		return nil
	}
	var names []string
	if c, ok := l.command.(*instructions.ArgCommand); ok {
		for _, kv := range c.Args {
			names = append(names, kv.Key)
		}
	}
	return names
}
