package stage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
)

// scope is what a point of a stage sees: configuration and variables. A scope is
// copied from step to step; what it points to is never changed in place.
type scope struct {
	cfg     *image.Config
	vars    *variable
	cmdSet  bool // CMD was set in this very stage
	unknown bool // the environment of the base is not known

	deferred []string // names that only the unknown base can define, of the current step
}

// variable is one name of a scope. Later ones hide earlier ones, which is
// Docker's order of precedence between ARG and ENV.
type variable struct {
	prev  *variable
	name  string
	value string
	set   bool
	decl  *declaration // nil for the environment
}

// declaration is one argument of one ArgOp or FromArgs, whatever the number of
// platforms and forks that it is compiled for.
type declaration struct {
	arg     arg.Arg
	at      mark
	stage   string
	used    bool
	counted bool // it is in compiler.order
}

func (sc *scope) set(name, value string) {
	sc.vars = &variable{prev: sc.vars, name: name, value: value, set: true}
}

func (sc *scope) declare(d *declaration, value string, set bool) {
	sc.vars = &variable{prev: sc.vars, name: d.arg.Name(), value: value, set: set, decl: d}
}

func (sc *scope) find(name string) *variable {
	for v := sc.vars; v != nil; v = v.prev {
		if v.name == name {
			return v
		}
	}
	return nil
}

func (sc *scope) lookup(name string) (string, bool) {
	v := sc.find(name)
	if v == nil {
		return "", false
	}
	if v.decl != nil {
		v.decl.used = true
	}
	if !v.set && v.prev != nil {
		// An argument without a value hides nothing.
		below := scope{vars: v.prev}
		return below.lookup(name)
	}
	return v.value, v.set
}

// edit replaces the configuration by a changed copy.
func (sc *scope) edit(change func(*image.Config)) {
	c := sc.cfg.Clone()
	change(&c)
	sc.cfg = &c
}

// expand replaces ${NAME} in text. A name without a value is an error, unless the
// form says what then: ${NAME:-default}.
func (sc *scope) expand(text string) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	refs, err := arg.Names(text, arg.Options{})
	if err != nil {
		return "", err
	}
	tolerant := map[string]bool{}
	for _, ref := range refs {
		if ref.Optional() || strings.HasSuffix(ref.Operator, "?") {
			tolerant[ref.Name] = true
		}
	}
	var missing []string
	out, err := arg.Expand(text, func(name string) (string, bool) {
		value, ok := sc.lookup(name)
		if !ok && (sc.unknown || !tolerant[name]) && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
		return value, ok
	}, arg.Options{})
	switch {
	case len(missing) > 0 && sc.unknown:
		sc.deferred = append(sc.deferred, missing...)
		return text, nil
	case err != nil:
		return "", err
	case len(missing) > 0:
		return "", sc.undefined(text, missing[0])
	}
	return out, nil
}

func (sc *scope) expand2(a, b string) (string, string, error) {
	x, err := sc.expand(a)
	if err != nil {
		return "", "", err
	}
	y, err := sc.expand(b)
	return x, y, err
}

func (sc *scope) expandAll(texts []string) ([]string, error) {
	out := make([]string, len(texts))
	for i, text := range texts {
		var err error
		if out[i], err = sc.expand(text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// UndefinedError is a variable that has no value where a text needs one.
type UndefinedError struct {
	Name     string // the variable
	Text     string // the text that uses it
	Declared bool   // an argument of that name is declared, but has no value
	Near     string // a name in scope that looks alike; may be empty
}

// Error tells what is missing and what to write.
func (e *UndefinedError) Error() string {
	if e.Declared {
		return fmt.Sprintf("%q: argument %s has no value here; give it one, a default with arg.Default, or write ${%s:-default}", e.Text, e.Name, e.Name)
	}
	near := ""
	if e.Near != "" {
		near = fmt.Sprintf(" (did you mean %s?)", e.Near)
	}
	return fmt.Sprintf("%q: %s is neither a declared argument nor an environment variable here%s; declare it with Arg(arg.New(%q)), or write \\$ for a dollar sign", e.Text, e.Name, near, e.Name)
}

func (sc *scope) undefined(text, name string) error {
	v := sc.find(name)
	e := &UndefinedError{Name: name, Text: text, Declared: v != nil}
	var names []string
	for v := sc.vars; v != nil; v = v.prev {
		names = append(names, v.name)
	}
	e.Near = nearest(name, names)
	return e
}

// environment returns what a process of this scope gets: the configured
// environment, and the arguments as NAME=value in the order of their
// declaration. Every argument it hands out counts as used.
func (sc *scope) environment() (env, args []string) {
	var vars []*variable
	for v := sc.vars; v != nil; v = v.prev {
		vars = append(vars, v)
	}
	slices.Reverse(vars)
	seen := map[string]bool{}
	for _, v := range vars {
		if v.decl == nil || seen[v.name] {
			continue
		}
		v.decl.used = true
		value, ok := sc.lookup(v.name)
		if !ok {
			continue
		}
		if last := sc.find(v.name); last.decl == nil {
			continue // ENV after ARG: the configured value counts, and no argument is recorded
		}
		seen[v.name] = true
		args = append(args, v.name+"="+value)
	}
	env = slices.Clone(sc.cfg.Env)
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		env = setEnv(env, name, value)
	}
	return env, args
}

// inherit returns the scope of a stage that is built from a stage with this one:
// arguments go on, and the configured environment applies anew.
func (sc scope) inherit() scope {
	child := scope{cfg: sc.cfg, unknown: sc.unknown}
	var args []*variable
	for v := sc.vars; v != nil; v = v.prev {
		if v.decl != nil {
			args = append(args, v)
		}
	}
	for _, v := range slices.Backward(args) {
		child.vars = &variable{prev: child.vars, name: v.name, value: v.value, set: v.set, decl: v.decl}
	}
	child.setEnvironment()
	return child
}

func (sc *scope) setEnvironment() {
	for _, e := range sc.cfg.Env {
		if name, value, ok := strings.Cut(e, "="); ok {
			sc.set(name, value)
		}
	}
}
