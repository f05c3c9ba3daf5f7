package arg

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// ErrLimit is wrapped by every error about a text, a result or an effort that is over a limit of this package.
var ErrLimit = errors.New("over the limit")

// SyntaxError says that a text is not in the expansion grammar.
type SyntaxError struct {
	Text   string // the whole text
	Offset int    // byte offset in Text of the place that is wrong
	Msg    string // what is wrong and what to write instead
}

// Error gives the message, the offset and at most 60 bytes of the text around it.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s (at offset %d of %s)", e.Msg, e.Offset, excerpt(e.Text, e.Offset))
}

// UnsetError says that a variable must have a value and has none: ${NAME?message}, ${NAME:?message}, or any plain
// reference with [Options.Strict].
type UnsetError struct {
	Name   string // the variable
	Offset int    // byte offset of its '$' in the expanded text
	Empty  bool   // it is set to the empty string, which ${NAME:?} refuses
	Msg    string // the text after '?', or a default
}

// Error is "NAME: message", as BuildKit and shells print it.
func (e *UnsetError) Error() string { return e.Name + ": " + e.Msg }

// DeclError says that an argument is declared wrongly. It is reported by [Arg.Err].
type DeclError struct {
	Name string // the argument, as it was given to New
	Msg  string // what is wrong and what to write instead
	Err  error  // the cause, when there is one: for a wrong default its *ValueError
}

// Error names the argument and the mistake.
func (e *DeclError) Error() string {
	s := "argument " + strconv.Quote(e.Name) + ": " + e.Msg
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *DeclError) Unwrap() error { return e.Err }

// ValueError says that a value is not one that an argument takes.
type ValueError struct {
	Name  string // the argument
	Value string // the value
	Want  string // what would be right, such as `one of "development", "production"`
	Near  string // the allowed value that was probably meant; empty when none is near
	Err   error  // what the validator said, for [Validate]
}

// Error names the argument, the value, what is allowed and the value that was probably meant.
func (e *ValueError) Error() string {
	s := fmt.Sprintf("argument %s is %s", e.Name, excerpt(e.Value, 0))
	if e.Want != "" {
		s += ", want " + e.Want
	}
	if e.Near != "" {
		s += fmt.Sprintf("; did you mean %q?", e.Near)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the validator's error.
func (e *ValueError) Unwrap() error { return e.Err }

// excerpt quotes the 60 bytes or fewer around offset, cut between characters.
func excerpt(text string, offset int) string {
	const around = 30
	from, to := max(0, offset-around), min(len(text), max(offset, 0)+around)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	s := strconv.Quote(text[from:to])
	if from > 0 {
		s = "…" + s
	}
	if to < len(text) {
		s += "…"
	}
	return s
}
