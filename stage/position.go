package stage

import (
	"fmt"
	"path/filepath"
	"runtime"
)

// Position is a place in the caller's source code: where an operation was
// written. The zero Position is unknown.
type Position struct {
	File string // absolute path as the compiler recorded it
	Line int    // 1-based
}

// String returns "file.go:12" with the last element of the path, or "?" when
// the position is unknown.
func (p Position) String() string {
	if p.File == "" {
		return "?"
	}
	return fmt.Sprintf("%s:%d", filepath.Base(p.File), p.Line)
}

// mark is a program counter of the caller. Recording it costs a fraction of
// what a Position does, and only errors and reports ever need the Position.
type mark uintptr

// here marks the caller of the exported function that calls it.
func here() mark {
	var pcs [1]uintptr
	if runtime.Callers(3, pcs[:]) == 0 {
		return 0
	}
	return mark(pcs[0])
}

func (m mark) position() Position {
	if m == 0 {
		return Position{}
	}
	frame, _ := runtime.CallersFrames([]uintptr{uintptr(m)}).Next()
	return Position{File: frame.File, Line: frame.Line}
}
