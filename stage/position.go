package stage

import (
	"fmt"
	"path/filepath"
	"runtime"
)

// Position is a place in the source where an operation was written: in the
// caller's Go code, or in another text that [Stage.At] names. The zero Position is
// unknown.
type Position struct {
	File   string // path as the compiler recorded it, or as given
	Line   int    // 1-based
	Column int    // 1-based, in bytes; 0 when unknown, as in Go code
}

// String returns "file.go:12", or "file:12:3" with a column, with the last element
// of the path; "?" when the position is unknown.
func (p Position) String() string {
	if p.File == "" {
		return "?"
	}
	if p.Line == 0 {
		return filepath.Base(p.File)
	}
	if p.Column > 0 {
		return fmt.Sprintf("%s:%d:%d", filepath.Base(p.File), p.Line, p.Column)
	}
	return fmt.Sprintf("%s:%d", filepath.Base(p.File), p.Line)
}

// mark is where an operation was written: a program counter of the caller, which
// costs a fraction of a Position to record and which only errors and reports ever
// look up, or a position that was given.
type mark struct {
	pc    uintptr
	given *Position
}

// here marks the caller of the exported function that calls it.
func here() mark {
	var pcs [1]uintptr
	if runtime.Callers(3, pcs[:]) == 0 {
		return mark{}
	}
	return mark{pc: pcs[0]}
}

func (m mark) position() Position {
	if m.given != nil {
		return *m.given
	}
	if m.pc == 0 {
		return Position{}
	}
	frame, _ := runtime.CallersFrames([]uintptr{m.pc}).Next()
	return Position{File: frame.File, Line: frame.Line}
}

// At says that the operations which follow were written at p, for programs that
// make stages from other texts: errors and reports then point there. It adds
// nothing to the stage.
func (s Stage) At(p Position) Stage {
	s.at = &p
	return s
}

// WrittenAt says that the beginning of a stage was written at p; see [Stage.At].
func WrittenAt(p Position) FromOption {
	return func(r *root) { r.at = mark{given: &p} }
}
