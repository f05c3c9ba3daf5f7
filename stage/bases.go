package stage

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
)

type baseKey struct {
	ref      string
	platform platform.Platform
}

type resolved struct {
	image BaseImage
	err   error
	done  bool
}

// maxResolving bounds how many references are asked for at once.
const maxResolving = 8

// resolveBases asks the Resolver for every image that the graph can need, several
// at a time, so that compiling itself never waits. An error counts only when the
// image turns out to be needed.
func (c *compiler) resolveBases() {
	if c.opts.Resolver == nil {
		return
	}
	seen := map[*link]bool{}
	var walk func(l *link)
	var keys []baseKey
	want := func(ref string, p platform.Platform) {
		key := baseKey{ref, p}
		if c.bases[key] == nil {
			c.bases[key] = &resolved{}
			keys = append(keys, key)
		}
	}
	var todo []*link
	walk = func(l *link) {
		for ; l != nil && !seen[l]; l = l.prev {
			seen[l] = true
			for _, s := range c.references(l, c.opts.Platforms...) {
				if s.last != nil {
					todo = append(todo, s.last)
				}
			}
			if l.prev == nil && l.root.ref != "" && l.root.err == nil {
				for _, p := range c.opts.Platforms {
					if c.among(l.root, p) != nil {
						continue
					}
					target := p
					p = c.effective(l.root, target)
					if ref, err := c.globalScope(l.root, target, false).expand(l.root.ref); err == nil && ref != "" {
						want(ref, p)
					}
				}
			}
		}
	}
	todo = append(todo, c.allHeads()...)
	for len(todo) > 0 {
		l := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		walk(l)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxResolving)
	for _, key := range keys {
		result := c.bases[key]
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			c.ask(result, key)
		})
	}
	wg.Wait()
}

// fromImage begins a stage with an image.
func (c *compiler) fromImage(r *root, p, target platform.Platform) *state {
	lost := &state{scope: scope{cfg: &image.Config{}, unknown: true}, step: -1}
	text := "FROM " + r.ref
	ref, err := c.globalScope(r, target, true).expand(r.ref)
	if err != nil {
		c.fail(r.at, c.label(r), text, err, "")
		return lost
	}
	if strings.TrimSpace(ref) == "" {
		c.fail(r.at, c.label(r), text, fmt.Errorf("the reference %q is empty", r.ref), emptyReference(r))
		return lost
	}
	if strings.EqualFold(ref, "scratch") {
		c.fail(r.at, c.label(r), text, fmt.Errorf("%q is not an image", ref), "use stage.Scratch()")
		return lost
	}
	return c.baseState(ref, p, r, r.at, "FROM "+ref)
}

func emptyReference(r *root) string {
	if r.rules != nil {
		return "give its ARG a default or a value; the ARG has to stand before the first FROM"
	}
	return "give an image, or use stage.Scratch for no base"
}

// baseState is the state at the beginning of an image, whose step is shared by
// all stages that use it. text is the operation that names it, for messages.
func (c *compiler) baseState(ref string, p platform.Platform, r *root, at mark, text string) *state {
	label := c.label(r)
	base, known, err := c.resolveBase(ref, p)
	if err == nil && r.rules == nil {
		err = checkPlatform(base.File, p) // BuildKit warns, and uses it
	}
	if err != nil {
		c.fail(at, label, text, err, c.similarStage(ref))
		return &state{scope: scope{cfg: &image.Config{}, unknown: true}, step: -1}
	}
	cfg := base.File.Config.Clone()
	if known && p.OS != "windows" && !slices.ContainsFunc(cfg.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		cfg.Env = append(cfg.Env, defaultPath)
	}
	if cfg.WorkingDir != "" && !path.IsAbs(cfg.WorkingDir) { // an empty one stays so, which means "/"
		cfg.WorkingDir = path.Join("/", cfg.WorkingDir)
	}
	st := &state{scope: scope{cfg: &cfg, unknown: !known}}
	st.takeEnv()
	key := baseKey{ref, p}
	id, ok := c.baseSteps[key]
	if !ok {
		id = c.add(&Step{
			Stage: label, Platform: p, Parent: -1, Config: &cfg, Text: "FROM " + ref, at: at,
			Op: &BaseOp{Ref: ref, Name: base.Name, Digest: base.Digest, File: base.File},
		})
		c.baseSteps[key] = id
	}
	st.step = id
	return st
}

// checkPlatform refuses an image that says that it is for another platform.
func checkPlatform(f image.File, want platform.Platform) error {
	is := platform.Platform{OS: f.OS, Architecture: f.Architecture, Variant: f.Variant, OSVersion: f.OSVersion}
	if f.OS == "" || f.Architecture == "" || is.Satisfies(want) {
		return nil
	}
	return fmt.Errorf("it is an image for %s, not for %s", is, want)
}

func (c *compiler) resolveBase(ref string, p platform.Platform) (base BaseImage, known bool, err error) {
	if c.opts.Resolver == nil {
		return BaseImage{}, false, nil
	}
	key := baseKey{ref, p}
	r := c.bases[key]
	if r == nil {
		r = &resolved{}
		c.bases[key] = r
	}
	if !r.done {
		c.ask(r, key)
	}
	return r.image, true, r.err
}

// ask asks the Resolver and checks its answer: a step's key stands on the digest.
func (c *compiler) ask(r *resolved, key baseKey) {
	ref := key.ref
	if c.opts.Policy != nil {
		if ref, r.err = c.opts.Policy(c.ctx, ref, key.platform); r.err == nil && ref == "" {
			r.err = errors.New("the policy gives an empty reference")
		}
	}
	if r.err == nil {
		r.image, r.err = c.opts.Resolver.Resolve(c.ctx, ref, key.platform)
	}
	if r.err == nil {
		if err := r.image.Digest.Validate(); err != nil {
			r.err = fmt.Errorf("the resolver gives the digest %q: %w", r.image.Digest, err)
		}
	}
	r.done = true
}

// similarStage helps the one who wrote From("builder") where From(builder) was
// meant.
func (c *compiler) similarStage(ref string) string {
	for _, names := range c.names {
		if _, ok := names[strings.ToLower(ref)]; ok {
			return fmt.Sprintf("a stage has that name: use the Stage value, or stage.Named(%q)", ref)
		}
	}
	return ""
}

func (c *compiler) allHeads() []*link {
	var heads []*link
	for _, s := range slices.Concat(c.targets, c.opts.Stages) {
		if s.last != nil {
			heads = append(heads, s.last)
		}
	}
	return heads
}

// globalScope is what the reference of a base sees: the arguments of FromArgs
// and the platform's.
func (c *compiler) globalScope(r *root, p platform.Platform, report bool) *scope {
	sc := &scope{cfg: &image.Config{}, vars: c.platformVars(p), reference: true, rules: r.rules}
	if r.rules != nil {
		sc.vars = sc.vars.with(&variable{name: "TARGETSTAGE", value: cmp.Or(c.opts.Args["TARGETSTAGE"], r.rules.Target, "default"), set: true})
	}
	c.declareAll(sc, r.args, declKey{root: r}, r.at, r, p, report)
	return sc
}

// declareAll adds arguments with their values to a scope. Mistakes are reported
// once, when report is set.
func (c *compiler) declareAll(sc *scope, args []arg.Arg, key declKey, at mark, r *root, p platform.Platform, report bool) {
	label := c.label(r)
	for i, a := range args {
		key.index = i
		d := c.declarations[key]
		if d == nil {
			d = &declaration{arg: a, at: at, stage: label, free: sc.rules != nil}
			c.declarations[key] = d
		}
		if report && !d.counted {
			d.counted = true
			c.order = append(c.order, d)
		}
		value, set, err := c.argValue(sc, a, p)
		if !set && err == nil && sc.rules != nil && !sc.reference {
			value, set = c.globalScope(r, p, false).lookup(a.Name())
		}
		if err != nil && report {
			c.fail(at, label, "ARG "+a.Name(), err, "")
			d.used = true // one mistake, one report
		}
		sc.declare(d, value, set || err != nil, err != nil)
	}
}

// argValue is the value of an argument: the caller's, else its own default, else
// what the platform gives.
func (c *compiler) argValue(sc *scope, a arg.Arg, p platform.Platform) (string, bool, error) {
	if err := a.Err(); err != nil {
		return "", false, err
	}
	if v, ok := c.opts.Args[a.Name()]; ok {
		return v, true, a.Check(v)
	}
	if def, ok := a.Default(); ok {
		v, err := sc.expand(def)
		if err != nil {
			return "", false, err
		}
		return v, true, a.Check(v)
	}
	if v, ok := c.platformArgs(p)[a.Name()]; ok {
		return v, true, a.Check(v)
	}
	if a.Name() == "TARGETSTAGE" && sc.rules != nil {
		return cmp.Or(sc.rules.Target, "default"), true, nil
	}
	if a.IsRequired() {
		takes := strings.TrimPrefix(a.Describe(), a.Name()+": ")
		return "", false, &RequiredError{Name: a.Name(), Doc: strings.Replace(takes, " (required)", "", 1)}
	}
	return "", false, nil
}

// RequiredError is a required argument that was given no value.
type RequiredError struct {
	Name string
	Doc  string // what the argument takes, for the message
}

// Error tells the name and what it takes.
func (e *RequiredError) Error() string {
	what := ""
	if e.Doc != "" {
		what = " (" + e.Doc + ")"
	}
	return fmt.Sprintf("argument %s%s is required and has no value; set it in Options.Args", e.Name, what)
}

// platformVars are the platform arguments as variables.
func (c *compiler) platformVars(p platform.Platform) *bindings {
	if vars, ok := c.platformScopes[p]; ok {
		return vars
	}
	var vars *bindings
	for name, value := range c.platformArgs(p) {
		vars = vars.with(&variable{name: name, value: value, set: true})
	}
	c.platformScopes[p] = vars
	return vars
}

func (c *compiler) platformArgs(p platform.Platform) map[string]string {
	if args, ok := c.platforms[p]; ok {
		return args
	}
	args := p.Args(c.opts.BuildPlatform)
	for name := range args {
		if v, ok := c.opts.Args[name]; ok {
			args[name] = v
		}
	}
	c.platforms[p] = args
	return args
}

// PredefinedArg reports whether Docker gives the argument a meaning of its own,
// so that a value for it needs no declaration.
func PredefinedArg(name string) bool {
	if isProxy(name) {
		return true
	}
	switch name {
	case "SOURCE_DATE_EPOCH", "TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT", "TARGETOSVERSION",
		"TARGETSTAGE", "BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT", "BUILDOSVERSION":
		return true
	}
	return false
}

// isProxy reports whether Run steps get the argument without a declaration: the names
// in upper or in lower case.
func isProxy(name string) bool {
	switch name {
	case "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY",
		"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy":
		return true
	}
	return false
}
