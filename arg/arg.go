package arg

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// An Arg is one declared build argument: its name, its default and the values that it takes. It is immutable and may be
// copied, shared by several stages and used from several goroutines.
type Arg struct {
	name       string
	def        string
	hasDefault bool
	written    bool
	required   bool
	doc        string
	kind       kind
	low, high  int64 // of an integer
	oneOf      []string
	validators []func(string) error
	mistakes   []error
}

type kind uint8

const (
	anyString kind = iota
	boolean
	integer
)

// An Option is a property of an argument, for [New].
type Option func(*Arg)

// New declares an argument. Mistakes are kept: [Arg.Err] reports them, so that they appear beside those of the stages
// that use the argument. A name is a letter or '_' followed by letters, digits and '_', all ASCII.
func New(name string, opts ...Option) Arg {
	a := Arg{name: name}
	for _, opt := range opts {
		if opt != nil {
			opt(&a)
		}
	}
	if a.written && (name == "" || strings.ContainsAny(name, "=\x00")) || !a.written && !validName(name) {
		a.mistake(`is no name; use letters, digits and '_', and start with no digit`, nil)
	}
	if a.required && a.hasDefault {
		a.mistake("is required and has a default; drop one of the two", nil)
	}
	if a.hasDefault && !strings.Contains(a.def, "$") { // else it can only be checked once it is expanded
		if err := a.Check(a.def); err != nil {
			a.mistake("its default is not allowed", err)
		}
	} else if a.hasDefault && !a.written {
		if _, err := Names(a.def, Options{}); err != nil {
			a.mistake("its default cannot be expanded", err)
		}
	}
	for _, v := range a.oneOf {
		if err := a.checkKind(v); err != nil {
			a.mistake("OneOf allows a value of another type", err)
		}
	}
	return a
}

func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func (a *Arg) mistake(msg string, err error) {
	a.mistakes = append(a.mistakes, &DeclError{Name: a.name, Msg: msg, Err: err})
}

// Default is the value when none is given. It may refer to other arguments, as in "golang:${GO_VERSION}": it is expanded
// in mode [Text] where the argument is used, and checked then.
func Default(v string) Option {
	return func(a *Arg) { a.def, a.hasDefault = v, true }
}

// Written is for arguments that come from the text of a Dockerfile: the name may be any text without '=', as there,
// and the default is a text whose mode is not known here, so that it is checked only where it is expanded.
func Written() Option {
	return func(a *Arg) { a.written = true }
}

// Required makes an argument that must be given a value, and not an empty one.
func Required() Option {
	return func(a *Arg) { a.required = true }
}

// OneOf lists the only values allowed.
func OneOf(values ...string) Option {
	return func(a *Arg) {
		switch {
		case len(values) == 0:
			a.mistake("OneOf without a value allows nothing; list the values", nil)
		case a.oneOf != nil:
			a.mistake("OneOf is given twice; list all values in one", nil)
		}
		a.oneOf = slices.Clone(values)
		for i, v := range values {
			if slices.Contains(values[:i], v) {
				a.mistake(fmt.Sprintf("OneOf lists %q twice", v), nil)
			}
		}
	}
}

// Bool allows "true" and "false". Other spellings are refused rather than translated, because the value reaches shell
// scripts as it was written.
func Bool() Option {
	return func(a *Arg) { a.setKind(boolean) }
}

// Int allows decimal integers of 64 bits, without a plus sign or leading zeros.
func Int() Option {
	return func(a *Arg) {
		a.setKind(integer)
		a.low, a.high = math.MinInt64, math.MaxInt64
	}
}

// IntRange is [Int] with a least and a greatest value, both allowed.
func IntRange(least, greatest int64) Option {
	return func(a *Arg) {
		a.setKind(integer)
		a.low, a.high = least, greatest
		if least > greatest {
			a.mistake(fmt.Sprintf("IntRange from %d to %d allows nothing; give the smaller number first", least, greatest), nil)
		}
	}
}

func (a *Arg) setKind(k kind) {
	if a.kind != anyString {
		a.mistake("has two types; use one of Bool, Int and IntRange", nil)
	}
	a.kind = k
}

// Validate adds a check of one's own, called after the others have passed. Its error should say what is allowed. It must
// be safe for concurrent use, and depend on nothing but the value.
func Validate(check func(value string) error) Option {
	return func(a *Arg) {
		if check == nil {
			a.mistake("Validate is given nil; give a function or leave it out", nil)
			return
		}
		a.validators = append(a.validators, check)
	}
}

// Doc is a line for [Arg.Describe], for help texts and listings.
func Doc(text string) Option {
	return func(a *Arg) { a.doc = text }
}

// Name is the name.
func (a Arg) Name() string { return a.name }

// Default is the default before expansion, and whether there is one: a default may be empty.
func (a Arg) Default() (string, bool) { return a.def, a.hasDefault }

// IsRequired says that a value must be given.
func (a Arg) IsRequired() bool { return a.required }

// Err reports what is wrong with the declaration: nil, or an error that joins a *[DeclError] for each mistake. The zero
// Arg has no name, so it has an error too.
func (a Arg) Err() error {
	if a.name == "" && a.mistakes == nil {
		return &DeclError{Msg: "is the zero Arg; make one with arg.New"}
	}
	return errors.Join(a.mistakes...)
}

// Describe is one line for help texts: the name, what is allowed, the default and the [Doc] text, as in
// `PORT: integer from 1 to 65535 (default "8080"): where the server listens`.
func (a Arg) Describe() string {
	s := a.name + ": " + a.want()
	switch {
	case a.required:
		s += " (required)"
	case a.hasDefault:
		s += " (default " + strconv.Quote(a.def) + ")"
	}
	if a.doc != "" {
		s += ": " + a.doc
	}
	return s
}

// Parts is what an argument was declared with, for programs that write declarations in another form.
type Parts struct {
	Name       string
	Default    string
	HasDefault bool
	Required   bool
	Doc        string
	OneOf      []string
	Bool, Int  bool
	Low, High  int64 // of Int: the least and the greatest value
	Validated  bool  // it has a function of [Validate]
	Written    bool
}

// Parts returns what the argument was declared with.
func (a Arg) Parts() Parts {
	return Parts{
		Name: a.name, Default: a.def, HasDefault: a.hasDefault, Required: a.required, Doc: a.doc, OneOf: slices.Clone(a.oneOf),
		Bool: a.kind == boolean, Int: a.kind == integer, Low: a.low, High: a.high, Validated: len(a.validators) > 0, Written: a.written,
	}
}
