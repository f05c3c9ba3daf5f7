package stage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
)

// Options are what a graph depends on beside the stages.
type Options struct {
	// Args are the values of build arguments. A name that no stage declares is
	// an error.
	Args arg.Values
	// Platforms are what to build for. None means the platform of this
	// machine, with Linux as the operating system.
	Platforms platform.Set
	// BuildPlatform is where Run steps run. Zero means this machine.
	BuildPlatform platform.Platform
	// Resolver answers what a base image is. With nil, bases stay unresolved
	// and the rest is still checked.
	Resolver Resolver
	// Stages are further stages that Named can find.
	Stages []Stage
	// Run are options for every Run step; those of RunDefaults and of the step itself
	// come after them.
	Run []RunOption
	// Labels are set on the targets, last, and are in no history.
	Labels map[string]string
	// OnBuild turns the ONBUILD triggers of a base into operations on the stage that
	// it is given; dockerfile.OnBuild of package stage/dockerfile does. With nil a base
	// that has triggers is a mistake, unless the stage says IgnoreOnBuild.
	OnBuild func(triggers []string, s Stage) (Stage, error)
	// Policy sees each reference before it is resolved, and returns it, another one
	// to use instead, or an error that refuses it. It may be called several times for one
	// reference and from several goroutines.
	Policy func(ctx context.Context, ref string, p platform.Platform) (string, error)
}

func (o Options) withDefaults() Options {
	if o.BuildPlatform == (platform.Platform{}) {
		o.BuildPlatform = platform.Host()
		o.BuildPlatform.OS = "linux"
	}
	if len(o.Platforms) == 0 {
		o.Platforms = platform.Set{o.BuildPlatform}
	}
	return o
}

// Resolver answers what a base image is, without reading its layers.
//
// Resolve is called once a reference and platform, several at a time. It must
// return an error that names the reference when the image does not exist, cannot
// be reached or is an index without the platform. An image that is alone is returned whatever
// platform it is for. A digest that is not valid is a
// mistake of the stage.
type Resolver interface {
	Resolve(ctx context.Context, ref string, p platform.Platform) (BaseImage, error)
}

// BaseImage is what a Resolver knows of an image.
type BaseImage struct {
	Name   string        // the canonical reference with digest, "docker.io/library/alpine@sha256:…"
	Digest digest.Digest // of the manifest for the platform
	File   image.File    // the image's configuration
}

// Compile checks the wanted stages for the wanted platforms and returns their
// graph. Only what a target reaches is part of it. The error is an [Errors] with
// every mistake that was found, or the context's error. No stage value is ever
// changed.
func Compile(ctx context.Context, targets []Stage, o Options) (*Graph, error) {
	asked := len(o.Platforms) > 0
	o = o.withDefaults()
	c := &compiler{
		ctx:            ctx,
		opts:           o,
		proxy:          proxyArgs(o.Args),
		asked:          asked,
		targets:        targets,
		platforms:      map[platform.Platform]map[string]string{},
		platformScopes: map[platform.Platform]*bindings{},
		graph:          &Graph{stages: slices.Clone(targets), points: map[point]int{}, pins: map[pinKey]platform.Platform{}, build: o.BuildPlatform},
		states:         map[point]*state{},
		declarations:   map[declKey]*declaration{},
		chosen:         map[pinKey]Stage{},
		numbers:        map[*root]string{},
		bases:          map[baseKey]*resolved{},
		baseSteps:      map[baseKey]int{},
		reported:       map[string]bool{},
		sees:           map[*link]bool{},
	}
	c.graph.chosen, c.graph.triggered = c.chosen, map[*root][]WrittenOp{}
	if len(targets) == 0 {
		return nil, errors.New("stage: nothing to compile: no target")
	}
	if err := checkOptions(o.Run); err != nil {
		return nil, fmt.Errorf("stage: Options.Run: %w", err)
	}
	c.collectNames(targets)
	c.resolveBases()
	for _, target := range targets {
		for _, p := range o.Platforms {
			c.target(target, p)
		}
	}
	c.checkArguments()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	return c.graph, nil
}

type (
	// point is a link on its platform. A stage that is pinned to a platform is compiled
	// once, except for what follows an argument that tells it the target.
	point struct {
		link     *link
		platform platformID
		target   platformID // zero where it makes no difference
	}
	pinKey struct {
		root     *root
		platform platform.Platform
	}
	declKey struct {
		link  *link
		root  *root
		index int
	}
)

// state is what is known after one link on one platform.
type state struct {
	scope
	step   int               // -1 when a mistake left no step
	target platform.Platform // what is built in the end, whatever the stage is pinned to
}

type compiler struct {
	ctx      context.Context // for the length of one Compile call
	opts     Options
	targets  []Stage
	asked    bool // for certain platforms
	graph    *Graph
	errs     Errors
	reported map[string]bool

	states         map[point]*state
	underWay       state          // in states: of a point that is being compiled
	sees           map[*link]bool // what seesTarget found
	path           []string       // names of the stages being compiled, for the report of a cycle
	declarations   map[declKey]*declaration
	order          []*declaration
	names          map[platform.Platform]map[string]named // by target platform and name
	chosen         map[pinKey]Stage
	numbers        map[*root]string
	bases          map[baseKey]*resolved
	baseSteps      map[baseKey]int
	platforms      map[platform.Platform]map[string]string // platform arguments
	platformScopes map[platform.Platform]*bindings         // the same as variables
	proxy          []string                                // the proxy arguments, NAME=value
	compatible     bool                                    // a stage follows the rules of a Dockerfile, where a value that nobody takes is no mistake of the stages
	choosing       int                                     // how many ForPlatform stages are being compiled inside each other
}

func (c *compiler) fail(at mark, stage, text string, err error, fix string) {
	if errors.Is(err, errWrongValue) {
		return
	}
	e := &Error{Pos: at.position(), Stage: stage, Step: text, Err: err, Fix: fix}
	if msg := e.Error(); !c.reported[msg] {
		c.reported[msg] = true
		c.errs = append(c.errs, e)
	}
}

// label names a stage: by its name, or by a number in the order of the first
// use.
func (c *compiler) label(r *root) string {
	if r.name != "" {
		return r.name
	}
	if r.named != "" {
		return r.named
	}
	if _, ok := c.numbers[r]; !ok {
		c.numbers[r] = strconv.Itoa(len(c.numbers))
	}
	return c.numbers[r]
}

// labelled is the state of a target with the labels of the options.
func (c *compiler) labelled(before *state, r *root) *state {
	st := *before
	st.edit(func(cfg *image.Config) {
		cfg.Labels = maps.Clone(cfg.Labels)
		if cfg.Labels == nil {
			cfg.Labels = map[string]string{}
		}
		maps.Copy(cfg.Labels, c.opts.Labels)
	})
	op := &ConfigOp{Instruction: "LABEL"}
	for _, key := range slices.Sorted(maps.Keys(c.opts.Labels)) {
		if key == "" {
			c.fail(mark{}, c.label(r), "LABEL", errors.New("label with an empty key"), "")
		}
		op.Words = append(op.Words, key, c.opts.Labels[key])
	}
	parent := c.graph.steps[st.step]
	st.step = c.add(&Step{
		Stage: parent.Stage, Platform: parent.Platform, Op: op, Parent: st.step,
		Config: st.cfg, Author: st.author, Text: "LABEL of the build", at: r.at,
	})
	return &st
}

func (c *compiler) target(s Stage, p platform.Platform) {
	if s.last == nil {
		c.fail(mark{}, "", "", errZeroStage, "")
		return
	}
	st := c.at(s.last, p)
	if len(c.opts.Labels) > 0 && st.step >= 0 {
		st = c.labelled(st, s.last.root)
	}
	t := Target{Stage: c.label(s.last.root), Platform: p, Step: st.step}
	if s.last.root.rules != nil && c.asked {
		t.Declared = p
	}
	c.graph.targets = append(c.graph.targets, t)
}

// at returns the state after a link, compiling what is not compiled yet. It
// goes along the stage in a loop, so that long stages cost no stack.
func (c *compiler) at(l *link, target platform.Platform) *state {
	p := c.effective(l.root, target)
	var todo []*link
	var st *state
	for x := l; x != nil && st == nil; x = x.prev {
		key := c.point(x, p, target)
		if st = c.states[key]; st == &c.underWay {
			c.fail(l.at, c.label(l.root), "", fmt.Errorf("%w: %s", ErrCycle, c.cycle(c.label(l.root))), "a stage cannot need its own result; take the files from another stage")
			return &state{scope: scope{cfg: &image.Config{}, unknown: true}, step: -1}
		}
		if st == nil {
			todo = append(todo, x)
		}
	}
	if len(todo) == 0 {
		return st
	}
	c.path = append(c.path, c.label(l.root))
	for _, x := range slices.Backward(todo) {
		key := c.point(x, p, target)
		c.states[key] = &c.underWay
		if x.prev == nil {
			st = c.begin(x, p, target)
		} else {
			st = c.next(st, x, p, target)
		}
		c.states[key] = st
		c.graph.points[key] = st.step
	}
	c.path = c.path[:len(c.path)-1]
	return st
}

// cycle tells how the stage with the given label is reached from itself.
func (c *compiler) cycle(label string) string {
	path := append(slices.Clone(c.path), label)
	if first := slices.Index(path, label); first < len(path)-1 {
		path = path[first:]
	}
	if path = slices.Compact(path); len(path) == 1 {
		path = append(path, label)
	}
	return strings.Join(path, " -> ")
}

// begin compiles the base of a stage, with what it triggers.
func (c *compiler) begin(l *link, p, target platform.Platform) *state {
	c.compatible = c.compatible || l.root.rules != nil
	st := c.base(l, p, target)
	c.compatible = c.compatible || l.root.rules != nil
	st.defaults, st.rules = nil, l.root.rules
	// What ForPlatform or Named stands for is the stage itself, and not a base of another.
	if itself := l.root.choose != nil || l.root.named != ""; len(st.cfg.OnBuild) > 0 && !itself {
		st = c.trigger(st, l, p, target)
	}
	return st
}

// trigger does what the ONBUILD instructions of a base ask for.
func (c *compiler) trigger(st *state, l *link, p, target platform.Platform) *state {
	r, triggers := l.root, st.cfg.OnBuild
	st.edit(func(cfg *image.Config) { cfg.OnBuild = nil })
	if r.ignoreOnBuild {
		return st
	}
	if c.opts.OnBuild == nil {
		c.fail(r.at, c.label(r), "", fmt.Errorf("the base has ONBUILD triggers: %s", strings.Join(triggers, "; ")), "give stage.Options.OnBuild (dockerfile.OnBuild runs them), or leave them alone with stage.IgnoreOnBuild")
		return st
	}
	s, err := c.opts.OnBuild(triggers, Stage{last: l}.At(r.at.position()))
	if err != nil {
		c.fail(r.at, c.label(r), "ONBUILD", err, "")
		return st
	}
	var links []*link
	for x := s.last; x != l; x = x.prev {
		if x == nil {
			c.fail(r.at, c.label(r), "ONBUILD", errors.New("Options.OnBuild returned a stage that does not continue the one that it was given"), "")
			return st
		}
		links = append(links, x)
	}
	if st.rules == nil {
		st.rules = &DockerRules{} // triggers are texts of a Dockerfile
	}
	c.graph.triggered[r] = nil
	for _, x := range slices.Backward(links) {
		c.graph.triggered[r] = append(c.graph.triggered[r], WrittenOp{Op: x.op, Pos: x.at.position(), Group: x.grouped()})
		st = c.next(st, x, p, target)
	}
	st.rules = r.rules
	return st
}

// base compiles what a stage begins with.
func (c *compiler) base(l *link, p, target platform.Platform) *state {
	r := l.root
	lost := &state{scope: scope{cfg: &image.Config{}, unknown: true}, step: -1}
	if r.err != nil {
		c.fail(r.at, c.label(r), "", r.err, "")
		return lost
	}
	if r.rules != nil {
		c.globalScope(r, target, true) // an ARG before FROM that cannot be expanded is a mistake for every stage
	}
	if r.pinText != "" {
		if _, err := c.pin(r, target, true); err != nil {
			c.fail(r.at, c.label(r), "FROM --platform="+r.pinText, err, "")
			return lost
		}
	}
	if base := c.among(r, target); base != nil {
		c.globalScope(r, target, true) // its arguments are used
		return c.inherit(base, target)
	}
	if r.rules != nil {
		c.globalScope(r, target, true) // a wrong value is a mistake, used or not
	}
	switch {
	case r.base != nil:
		return c.inherit(r.base, target)
	case r.choose != nil:
		chosen, ok := c.choose(r, p)
		if !ok {
			return lost
		}
		c.choosing++
		defer func() { c.choosing-- }()
		return c.inherit(chosen.last, target)
	case r.named != "":
		head := c.find(r, target)
		if head == nil {
			return lost
		}
		return c.inherit(head, target)
	case r.scratch:
		cfg := &image.Config{WorkingDir: "/", Env: []string{defaultPath}}
		if p.OS == "windows" {
			cfg = &image.Config{WorkingDir: `\`}
		}
		st := &state{scope: scope{cfg: cfg}}
		st.takeEnv()
		st.step = c.add(&Step{Stage: c.label(r), Platform: p, Op: &BaseOp{}, Parent: -1, Config: cfg, Text: "FROM scratch", at: r.at})
		return st
	}
	return c.fromImage(r, p, target)
}

// defaultPath is what Docker gives to an image that sets no PATH.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (c *compiler) inherit(base *link, target platform.Platform) *state {
	parent := c.at(base, target)
	return &state{scope: parent.inherit(), step: parent.step}
}

// maxForPlatform bounds a chain of ForPlatform stages that choose ever new ones.
const maxForPlatform = 1000

func (c *compiler) choose(r *root, p platform.Platform) (Stage, bool) {
	if c.choosing >= maxForPlatform {
		c.fail(r.at, c.label(r), "", fmt.Errorf("%w: more than %d stages deep", ErrCycle, maxForPlatform), "ForPlatform must return a stage that does not call it again without end")
		return Stage{}, false
	}
	s := c.preview(r, p)
	if s.last == nil {
		c.fail(r.at, c.label(r), "", fmt.Errorf("ForPlatform chose no stage for %s", p), "return a Stage for every platform that is built")
	}
	return s, s.last != nil
}

// next compiles one operation on top of what came before it.
func (c *compiler) next(before *state, l *link, p, target platform.Platform) *state {
	st := &state{scope: before.scope, step: before.step, target: target}
	st.deferred = nil
	if op, ok := l.op.(*RunDefaultsOp); ok {
		st.defaults = slices.Concat(st.defaults, op.Options)
		return st
	}
	step := &Step{Stage: c.label(l.root), Platform: p, Parent: before.step, at: l.at}
	if bad, ok := l.op.(*badOp); ok {
		c.fail(l.at, step.Stage, bad.instruction, bad.err, bad.fix)
		return st
	}
	op, err := c.resolve(l, st, step)
	if err != nil && len(st.deferred) > 0 {
		// A text that waits for the base image cannot be judged yet.
		op, err, step.Text = l.op, nil, opName(l.op)
	}
	if err != nil {
		c.fail(l.at, step.Stage, opName(l.op), err, "")
		return st
	}
	step.Op, step.Config, step.Author, step.Deferred = op, st.cfg, st.author, st.deferred
	if step.History == "" && hasHistory(op) {
		step.History = step.Text
	}
	st.step = c.add(step)
	return st
}

// hasHistory reports whether an operation has an entry in the image's history.
func hasHistory(op Op) bool {
	switch op := op.(type) {
	case *NeedsOp:
		return false
	case *ConfigOp:
		return op.Instruction != "ONBUILD"
	}
	return true
}

func (c *compiler) add(s *Step) int {
	s.ID = len(c.graph.steps)
	c.graph.steps = append(c.graph.steps, s)
	return s.ID
}

// checkArguments reports values for arguments that nobody declares, and
// declared arguments that nothing uses.
func (c *compiler) checkArguments() {
	known := map[string]bool{}
	for _, d := range c.order {
		known[d.arg.Name()] = true
		if !d.used && !d.free {
			c.fail(d.at, d.stage, "ARG "+d.arg.Name(), fmt.Errorf("argument %s is declared but nothing uses it", d.arg.Name()), "use it in a later step, or drop the declaration")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.opts.Args)) {
		if known[name] || PredefinedArg(name) || c.compatible {
			continue
		}
		names := slices.Sorted(maps.Keys(known))
		fix := "declare it with Arg(arg.New(" + strconv.Quote(name) + "))"
		if near := nearest(name, names); near != "" {
			fix = "did you mean " + near + "?"
		} else if len(names) > 0 {
			fix += "; declared are " + strings.Join(names, ", ")
		}
		c.fail(mark{}, "", "", fmt.Errorf("a value is given for the argument %s, which no stage that is built declares", name), fix)
	}
}
