package dockerfile

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/util/suggest"
	"github.com/moby/patternmatcher"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
)

// linting is one run of the checks that need values: it goes through the stages
// as a build does, but computes no more than variables and a few settings.
type linting struct {
	ctx    context.Context // for the length of one Lint
	file   *File
	opts   LintOptions
	lint   *linter.Linter
	ignore *patternmatcher.PatternMatcher
	global map[string]string // values of arguments before the first FROM, and of the platform
	bare   map[string]string // the same with nothing but defaults
	stages []*lintState
	list   []Warning
}

func (f *File) linting(ctx context.Context, o LintOptions) *linting {
	l := &linting{ctx: ctx, file: f, opts: o, stages: make([]*lintState, len(f.stages)), list: slices.Clone(f.warnings)}
	l.lint = f.collector(&l.list)
	l.globals()
	for _, s := range f.stages {
		l.from(s)
	}
	return l
}

// reach checks what stage i needs.
func (l *linting) reach(i int) {
	for _, j := range l.file.reached(i, l.base) {
		l.stage(j)
	}
}

// sorted are the warnings in the order of the file.
func (l *linting) sorted() []Warning {
	slices.SortStableFunc(l.list, func(a, b Warning) int { return cmp.Compare(a.Pos.Line, b.Pos.Line) })
	return l.list
}

// lintState is what is known at one place of a stage.
type lintState struct {
	env      map[string]string
	unknown  bool // the base may define further variables
	declared map[string]bool
	workdir  bool                      // the file has set a working directory
	shell    bool                      // a shell is set
	once     map[string][]parser.Range // where CMD, ENTRYPOINT and HEALTHCHECK stand
	lines    []line
}

// expanded is a text with its variables, and which of them have no value.
type expanded struct {
	text      string
	matched   []string
	unmatched []string
	err       error
}

func expand(text string, escape rune, env map[string]string, mode arg.QuoteMode) expanded {
	var e expanded
	e.text, e.err = arg.Expand(text, func(name string) (string, bool) {
		value, ok := env[name]
		list := &e.unmatched
		if ok {
			list = &e.matched
		}
		if !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
		return value, ok
	}, arg.Options{Quotes: mode, Escape: escape})
	return e
}

// globals computes what FROM sees.
func (l *linting) globals() {
	target := l.opts.Target
	if target == "" {
		target = l.file.stages[len(l.file.stages)-1].Name
	}
	start := func(given arg.Values) map[string]string {
		env := l.opts.Platform.Args(l.opts.BuildPlatform)
		env["TARGETSTAGE"] = cmp.Or(target, "default")
		for name := range env {
			if v, ok := given[name]; ok {
				env[name] = v
			}
		}
		return env
	}
	fill := func(env map[string]string, given arg.Values) map[string]string {
		for _, line := range l.file.global {
			for _, kv := range line.Args {
				if v, ok := given[kv.Key]; ok {
					env[kv.Key] = v
				} else if kv.Value != nil {
					env[kv.Key] = expand(*kv.Value, l.file.escape, env, arg.Word).text
				}
			}
		}
		return env
	}
	l.global = fill(start(l.opts.Args), l.opts.Args)
	l.bare = fill(start(l.opts.Args), nil)
	for _, s := range l.file.stages {
		if e := expand(s.BaseName, l.file.escape, l.bare, arg.Word); e.err == nil && !isReference(e.text) {
			l.lint.Run(&linter.RuleInvalidDefaultArgInFrom, s.Location, linter.RuleInvalidDefaultArgInFrom.Format(s.BaseName))
		}
	}
}

// base is the stage that a stage stands on.
func (l *linting) base(i int) (int, bool) {
	return l.file.before(i, expand(l.file.stages[i].BaseName, l.file.escape, l.global, arg.Word).text)
}

// stage checks one stage, and first the one that it stands on.
func (l *linting) stage(i int) *lintState {
	if l.stages[i] != nil {
		return l.stages[i]
	}
	s := l.file.stages[i]
	st := &lintState{env: map[string]string{}, declared: map[string]bool{}}
	l.stages[i] = st
	base := expand(s.BaseName, l.file.escape, l.global, arg.Word).text
	var triggers []string
	if parent, ok := l.base(i); ok {
		triggers = st.inherit(l.stage(parent))
	} else if base != "scratch" {
		triggers = l.image(st, s, base)
	} else {
		st.env["PATH"] = ""
	}
	st.once = map[string][]parser.Range{}
	st.lines = append(l.file.triggers(triggers, s, nil), s.lines...)
	for _, line := range st.lines {
		if l.ctx.Err() != nil {
			return st
		}
		l.line(st, line)
	}
	return st
}

// inherit takes over what a stage hands down, and returns its triggers.
func (st *lintState) inherit(parent *lintState) []string {
	for k, v := range parent.env {
		st.env[k] = v
	}
	for k := range parent.declared {
		st.declared[k] = true
	}
	st.unknown, st.workdir, st.shell = parent.unknown, parent.workdir, parent.shell
	var triggers []string
	for _, line := range parent.lines {
		if c, ok := line.command.(*instructions.OnbuildCommand); ok {
			triggers = append(triggers, c.Expression)
		}
	}
	return triggers
}

// from checks FROM itself.
func (l *linting) from(s *buildStage) {
	lint := l.lint.WithMergedConfigFromComments(s.Comments)
	known := map[string]bool{}
	var names []string
	for name := range l.global {
		known[name] = true
	}
	for _, line := range l.file.global {
		for _, kv := range line.Args {
			known[kv.Key] = true
		}
	}
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	undefined := func(e expanded) {
		for _, name := range e.unmatched {
			if !known[name] {
				near, _ := suggest.Search(name, names, true)
				lint.Run(&linter.RuleUndefinedArgInFrom, s.Location, linter.RuleUndefinedArgInFrom.Format(name, near))
			}
		}
	}
	base := expand(s.BaseName, l.file.escape, l.global, arg.Word)
	undefined(base)
	if s.Platform == "" {
		return
	}
	p := expand(s.Platform, l.file.escape, l.global, arg.Word)
	undefined(p)
	if len(p.matched) == 1 && len(p.unmatched) == 0 && p.matched[0] == "TARGETPLATFORM" && p.text == l.global["TARGETPLATFORM"] {
		lint.Run(&linter.RuleRedundantTargetPlatform, s.Location, linter.RuleRedundantTargetPlatform.Format(s.Platform))
	}
	if len(p.matched)+len(p.unmatched) == 0 {
		if pin, err := platform.ParseFor(p.text, l.opts.BuildPlatform); err == nil && !strings.Contains(s.Name, pin.OS) && !strings.Contains(s.Name, pin.Architecture) {
			lint.Run(&linter.RuleFromPlatformFlagConstDisallowed, s.Location, linter.RuleFromPlatformFlagConstDisallowed.Format(p.text))
		}
	}
}

// image takes over what a base image hands down, and returns its triggers.
func (l *linting) image(st *lintState, s *buildStage, ref string) []string {
	if l.opts.Resolver == nil || l.file.contexts.has(ref) {
		st.unknown = true
		return nil
	}
	want := l.opts.Platform
	if s.Platform != "" {
		if p, err := platform.ParseFor(expand(s.Platform, l.file.escape, l.global, arg.Word).text, l.opts.BuildPlatform); err == nil {
			want = p
		}
	}
	base, err := l.opts.Resolver.Resolve(l.ctx, ref, want)
	if err != nil {
		st.unknown = true
		return nil
	}
	got := platform.Platform{OS: base.File.OS, Architecture: base.File.Architecture, Variant: base.File.Variant}
	if got.OS != want.OS || got.Architecture != want.Architecture {
		l.lint.Run(&linter.RuleInvalidBaseImagePlatform, s.Location, linter.RuleInvalidBaseImagePlatform.Format(ref, want.Normalize().String(), got.Normalize().String()))
	}
	st.env["PATH"] = ""
	for _, e := range base.File.Config.Env {
		name, value, _ := strings.Cut(e, "=")
		st.env[name] = value
	}
	st.shell = len(base.File.Config.Shell) > 0
	return base.File.Config.OnBuild
}

// ignored reports whether a source path of the context is left out whole.
func (l *linting) ignored(src string) bool {
	if l.ignore == nil || l.ignore.Exclusions() {
		return false
	}
	src = path.Clean(src)
	if src == "." || src == "/" {
		return slices.ContainsFunc(l.ignore.Patterns(), func(p *patternmatcher.Pattern) bool {
			return !p.Exclusion() && (p.String() == "*" || p.String() == "**" || p.String() == "**/*")
		})
	}
	ok, err := l.ignore.MatchesOrParentMatches(src)
	return ok && err == nil
}
