package dockerfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// Target returns a stage of the file as a value, to compile or to build on: the
// last one for "", else by name in whatever letter case. Of two stages with one name the
// later counts. As in docker build, a number is no target; see [File.Numbered].
//
// The stage follows the rules of Dockerfiles ([stage.Compatible]); its
// operations know their lines. An unknown target is a [stage.Error] whose cause is
// an [UnknownError]; stages used before they are defined are reported all
// together; a file with "# check=error=true" that has warnings is a [LintError].
func (f *File) Target(name string) (stage.Stage, error) {
	i, err := f.index(name)
	if err != nil {
		return stage.Stage{}, err
	}
	if name == "" {
		name = f.stages[i].Name
	}
	return f.target(name, i)
}

// Numbered returns a stage by its number in the file, counted from 0; otherwise it is
// [File.Target].
func (f *File) Numbered(i int) (stage.Stage, error) {
	if i < 0 || i >= len(f.stages) {
		e := unknown("stage", strconv.Itoa(i), f.Stages())
		return stage.Stage{}, &stage.Error{Pos: stage.Position{File: f.name}, Err: e, Fix: fmt.Sprintf("the file has %d stages", len(f.stages))}
	}
	return f.target(f.stages[i].Name, i)
}

// target makes stage i with a value of TARGETSTAGE.
func (f *File) target(name string, i int) (stage.Stage, error) {
	s, err := f.build(name, func(b *builder) stage.Stage { return b.stage(i) })
	if err != nil {
		return stage.Stage{}, err
	}
	if f.lint.ReturnAsError {
		if list := f.warningsOf(i); len(list) > 0 {
			return stage.Stage{}, &LintError{list}
		}
	}
	return s, nil
}

// builder makes stage values. One serves one target, since each stage tells its
// operations what the target is called.
type builder struct {
	file     *File
	rules    stage.DockerRules
	global   []arg.Arg
	stages   []stage.Stage
	built    []bool
	problems problems
}

// build calls do with the builder of a target, and returns what it makes or the mistakes
// that were found. Stages that were made for a target once are used again, so that all
// that ask for them get the same values.
func (f *File) build(target string, do func(*builder) stage.Stage) (stage.Stage, error) {
	f.made.Lock()
	defer f.made.Unlock()
	b := f.made.builders[target]
	if b == nil {
		b = f.builder(target)
	}
	s := do(b)
	if err := b.problems.err(); err != nil {
		delete(f.made.builders, target)
		return stage.Stage{}, err
	}
	if f.made.builders == nil {
		f.made.builders = map[string]*builder{}
	}
	f.made.builders[target] = b
	return s, nil
}

func (f *File) builder(target string) *builder {
	b := &builder{
		file:   f,
		rules:  stage.DockerRules{Escape: f.escape, Target: target},
		stages: make([]stage.Stage, len(f.stages)),
		built:  make([]bool, len(f.stages)),
	}
	for _, l := range f.global {
		b.global = append(b.global, arguments(l.Args)...)
	}
	return b
}

// stage makes the value of a stage, and those of the stages that it needs.
func (b *builder) stage(i int) stage.Stage {
	if b.built[i] {
		return b.stages[i]
	}
	b.built[i] = true
	s := b.file.stages[i]
	v := b.begin(i)
	if !b.file.replaced(s) {
		for _, l := range s.lines {
			v = b.operation(i, v.At(l.at), l)
		}
	}
	b.stages[i] = v
	return v
}

// replaced reports whether a named context stands in for a stage.
func (f *File) replaced(s *buildStage) bool { return s.Name != "" && f.contexts.has(s.Name) }

// begin makes the beginning of a stage.
func (b *builder) begin(i int) stage.Stage {
	s := b.file.stages[i]
	options := []stage.FromOption{stage.Compatible(b.rules), stage.WrittenAt(s.at)}
	if last, _ := b.file.named(s.Name); s.Name != "" && last == i && s.Name != "scratch" && s.Name != "context" {
		options = append(options, stage.As(s.Name))
	}
	if b.file.replaced(s) {
		return b.context(s.Name, s.at, options)
	}
	options = append(options, stage.FromArgs(b.global...))
	if s.Platform != "" {
		options = append(options, stage.OnPlatformText(s.Platform))
	}
	base, constant := b.constant(s.BaseName)
	if !constant {
		return stage.From(s.BaseName, append(options, stage.Among(b.among(i)))...)
	}
	if j, ok := b.file.before(i, base); ok {
		return stage.From(b.stage(j), options...)
	}
	switch {
	case base == "scratch":
		return stage.Scratch(options...)
	case b.file.contexts.has(base):
		return b.context(base, s.at, options)
	}
	return stage.From(s.BaseName, options...)
}

// constant is a text without its quotes and escapes, when it has no variables.
func (b *builder) constant(text string) (string, bool) {
	if strings.Contains(text, "$") {
		return "", false
	}
	out, err := arg.Expand(text, nil, arg.Options{Quotes: arg.Word, Escape: b.file.escape})
	return out, err == nil
}

// among are the names that stage i's FROM can mean beside images, for a FROM that
// is not known before its variables are.
func (b *builder) among(i int) map[string]stage.Stage {
	at := b.file.stages[i].at
	names := map[string]stage.Stage{"scratch": stage.Scratch(stage.WrittenAt(at))}
	for _, name := range b.file.contexts.names() {
		names[name] = b.context(name, at, []stage.FromOption{stage.WrittenAt(at)})
	}
	for j, s := range b.file.stages[:i] {
		if s.Name != "" {
			names[s.Name] = b.stage(j)
		}
	}
	return names
}

// context begins a stage with the files, or the image, of a named context.
func (b *builder) context(name string, at stage.Position, options []stage.FromOption) stage.Stage {
	key := familiar(name)
	if ref, ok := b.file.contexts.refs[key]; ok {
		if ref == "scratch" {
			return stage.Scratch(options...)
		}
		return stage.From(escaped(ref), options...)
	}
	from := b.file.contexts.sources[key]
	if s, ok := from.(stage.Stage); ok {
		return stage.From(s, options...)
	}
	return stage.Scratch(options...).At(at).CopyFrom(from, "/", "/", stage.KeepModes())
}

// escaped is a text that a Dockerfile's word gives back as it is.
func escaped(text string) string {
	if !strings.ContainsAny(text, "$\\`\"'") {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'"
}
