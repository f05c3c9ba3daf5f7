package stage

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
)

// scope is what a point of a stage sees: configuration and variables. A scope is
// copied from step to step; what it points to is never changed in place.
type scope struct {
	cfg       *image.Config
	env       envList
	vars      *bindings
	args      *argList
	ran       *environment // of the latest Run, while it still holds
	time      int          // counts values of variables
	shuffled  bool         // the environment of a process has another order than the configured one, or more
	rules     *DockerRules // of the stage; nil for the strict ones
	defaults  []RunOption  // for the Run steps of the stage
	author    string
	cmdSet    bool // CMD was set in this very stage
	unknown   bool // the environment of the base is not known
	reference bool // it is the scope of a base's reference

	deferred []string // names that only the unknown base can define, of the current step
}

// variable is what one name of a scope stands for. A later one takes the place of
// an earlier one, which is Docker's order of precedence between ARG and ENV.
type variable struct {
	name     string
	value    string
	set      bool
	wrong    bool         // its value was reported as a mistake already
	decl     *declaration // nil for the environment
	below    *variable    // what an argument without a value does not hide
	declared bool         // it is an argument too, whatever hides that

	env   string // what the configured environment says
	index int    // its place there, from 1; 0 for none
	since int    // when it got its value, which is its place in the environment of a process
}

// argList is the names of the declared arguments, the latest first.
type argList struct {
	prev *argList
	name string
}

// environment is what a process gets.
type environment struct{ env, args []string }

// declaration is one argument of one ArgOp or FromArgs, whatever the number of
// platforms and forks that it is compiled for.
type declaration struct {
	arg     arg.Arg
	at      mark
	stage   string
	used    bool
	free    bool // it may stay unused
	counted bool // it is in compiler.order
}

// setEnv sets a variable of the configured environment, where one that exists
// keeps its place.
func (sc *scope) setEnv(name, value string) {
	sc.time++
	v := &variable{name: name, value: value, set: true, env: value, since: sc.time}
	old := sc.vars.find(name)
	if old != nil {
		v.declared, v.index = old.declared, old.index
	}
	entry := name + "=" + value
	if v.index == 0 {
		sc.env = sc.env.append(entry)
		v.index = len(sc.env.list)
	} else {
		sc.env = sc.env.replace(v.index-1, entry)
		sc.shuffled = true
	}
	sc.vars, sc.ran = sc.vars.with(v), nil
	sc.edit(func(c *image.Config) { c.Env = slices.Clip(sc.env.list) })
}

// takeEnv makes the configured environment of a base visible. Of two entries for
// one name the last one's value counts, and the first one's place.
func (sc *scope) takeEnv() {
	sc.env = envList{list: sc.cfg.Env}
	for i, e := range sc.cfg.Env {
		name, value, ok := strings.Cut(e, "=")
		sc.time++
		v := &variable{name: name, value: value, set: ok, env: value, index: i + 1, since: sc.time}
		if old := sc.vars.find(name); old != nil && old.index > 0 {
			v.index = old.index
			sc.shuffled = true
		}
		sc.vars = sc.vars.with(v)
	}
}

// unsetEnv removes a variable of the configured environment.
func (sc *scope) unsetEnv(name string) {
	list := slices.DeleteFunc(slices.Clone(sc.env.list), func(e string) bool { return strings.HasPrefix(e, name+"=") })
	gone := &variable{name: name}
	if old := sc.vars.find(name); old != nil {
		gone.declared = old.declared
	}
	sc.vars = sc.vars.with(gone)
	seen := map[string]bool{}
	for i, e := range list {
		n, _, _ := strings.Cut(e, "=")
		if seen[n] {
			continue // of two entries the first one's place counts
		}
		seen[n] = true
		moved := *sc.vars.find(n)
		moved.index = i + 1
		sc.vars = sc.vars.with(&moved)
	}
	sc.env, sc.ran = envList{list: list}, nil
	sc.edit(func(c *image.Config) { c.Env = slices.Clip(list) })
}

func (sc *scope) declare(d *declaration, value string, set, wrong bool) {
	sc.time++
	sc.shuffled = true
	v := &variable{name: d.arg.Name(), value: value, set: set, wrong: wrong, decl: d, declared: true, since: sc.time}
	old := sc.vars.find(v.name)
	if old != nil {
		v.env, v.index = old.env, old.index
		if !set {
			v.value, v.set, v.wrong, v.below, v.since = old.value, old.set, old.wrong, old, old.since
		}
	}
	if old == nil || !old.declared {
		sc.args = &argList{sc.args, v.name}
	}
	sc.vars, sc.ran = sc.vars.with(v), nil
}

func (sc *scope) lookup(name string) (string, bool) {
	v := sc.vars.find(name)
	if v == nil {
		return "", false
	}
	v.use()
	return v.value, v.set
}

func (v *variable) use() {
	for ; v != nil; v = v.below {
		if v.decl != nil {
			v.decl.used = true
		}
	}
}

// edit replaces the configuration by a changed copy. change must not write to
// what the configuration points to, which the copies share.
func (sc *scope) edit(change func(*image.Config)) {
	c := *sc.cfg
	change(&c)
	sc.cfg = &c
}

// errWrongValue stands for a text that uses an argument whose value was reported
// as a mistake: one mistake is one report.
var errWrongValue = errors.New("an argument has a wrong value")

// expand replaces ${NAME} in text. A name without a value is an error, unless the
// form says what then: ${NAME:-default}.
func (sc *scope) expand(text string) (string, error) {
	if sc.rules != nil {
		return sc.expandWord(text, sc.rules.words(arg.Word))
	}
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
	wrong := false
	out, err := arg.Expand(text, func(name string) (string, bool) {
		value, ok := sc.lookup(name)
		if v := sc.vars.find(name); v != nil && v.wrong {
			wrong = true
		}
		if !ok && (sc.unknown || !tolerant[name]) && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
		return value, ok
	}, arg.Options{})
	switch {
	case wrong:
		return "", errWrongValue
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

// expandWord expands a text of a Dockerfile, where a variable without a value is empty.
func (sc *scope) expandWord(text string, o arg.Options) (string, error) {
	missing, wrong := 0, false
	out, err := arg.Expand(text, sc.lookupWord(&missing, &wrong), o)
	switch {
	case wrong:
		return "", errWrongValue
	case missing > 0 && sc.unknown:
		return text, nil
	}
	return out, err
}

// lookupWord looks names up for the expansion of a Dockerfile's text.
func (sc *scope) lookupWord(missing *int, wrong *bool) arg.Lookup {
	return func(name string) (string, bool) {
		value, ok := sc.lookup(name)
		if v := sc.vars.find(name); v != nil && v.wrong {
			*wrong = true
		}
		if !ok && sc.unknown {
			*missing++
			sc.deferred = append(sc.deferred, name)
		}
		return value, ok
	}
}

// expandWords expands a text that stands for any number of words.
func (sc *scope) expandWords(text string) ([]string, error) {
	if sc.rules == nil {
		out, err := sc.expand(text)
		return strings.Fields(out), err
	}
	missing, wrong := 0, false
	words, err := arg.ExpandWords(text, sc.lookupWord(&missing, &wrong), sc.rules.words(arg.Word))
	switch {
	case wrong:
		return nil, errWrongValue
	case missing > 0 && sc.unknown:
		return nil, nil
	}
	return words, err
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

	reference bool // it is used by a base's reference
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
	if e.reference {
		return fmt.Sprintf("%q: %s is no argument of this reference%s; declare it with stage.FromArgs(arg.New(%q)), which is all that a reference sees beside the platform arguments", e.Text, e.Name, near, e.Name)
	}
	return fmt.Sprintf("%q: %s is neither a declared argument nor an environment variable here%s; declare it with Arg(arg.New(%q)), or write \\$ for a dollar sign", e.Text, e.Name, near, e.Name)
}

func (sc *scope) undefined(text, name string) error {
	v := sc.vars.find(name)
	e := &UndefinedError{Name: name, Text: text, Declared: v != nil && v.declared, reference: sc.reference}
	var others []string
	for _, v := range sc.vars.all(nil) {
		if v.name != name {
			others = append(others, v.name)
		}
	}
	e.Near = nearest(name, others)
	return e
}

// environment returns what a process of this scope gets: the variables that have a
// value, in the order in which they got it, and every declared argument as NAME=value in
// the order of the first declarations, as BuildKit writes it into the history. Every
// argument counts as used.
func (sc *scope) environment() (env, args []string) {
	if sc.ran != nil {
		return sc.ran.env, sc.ran.args
	}
	for a := sc.args; a != nil; a = a.prev {
		v := sc.vars.find(a.name)
		v.use()
		args = append(args, v.name+"="+v.value)
	}
	slices.Reverse(args)
	env = sc.env.list
	if sc.shuffled {
		vars := slices.DeleteFunc(sc.vars.all(nil), func(v *variable) bool { return !v.set })
		slices.SortFunc(vars, func(a, b *variable) int { return a.since - b.since })
		env = make([]string, len(vars))
		for i, v := range vars {
			env[i] = sc.entry(v)
		}
	}
	sc.ran = &environment{slices.Clip(env), slices.Clip(args)}
	return sc.ran.env, sc.ran.args
}

// entry is NAME=value: the text in the environment's list where that is it, so that a long stage has one of each.
func (sc *scope) entry(v *variable) string {
	if v.index > 0 {
		e := sc.env.list[v.index-1]
		if name, value, _ := strings.Cut(e, "="); name == v.name && value == v.value {
			return e
		}
	}
	return v.name + "=" + v.value
}

// inherit returns the scope of a stage that is built from a stage with this one:
// arguments go on, and the configured environment applies anew.
func (sc scope) inherit() scope {
	child := scope{
		cfg: sc.cfg, env: sc.env, vars: sc.vars, args: sc.args, time: sc.time, shuffled: sc.shuffled,
		unknown: sc.unknown, author: sc.author,
	}
	if !sc.shuffled {
		return child
	}
	for _, e := range sc.env.list {
		name, _, _ := strings.Cut(e, "=")
		v := *child.vars.find(name)
		if v.decl != nil {
			v.value, v.set, v.wrong, v.decl, v.below = v.env, true, false, nil, nil
		}
		child.time++
		v.since = child.time
		child.vars = child.vars.with(&v)
	}
	return child
}
