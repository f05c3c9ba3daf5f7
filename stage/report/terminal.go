package report

import (
	"io"

	"golang.org/x/term"
)

// terminal tells whether w is a terminal that can be drawn on, and how to ask for
// its size.
func terminal(w io.Writer) (size func() (columns, rows int), ok bool) {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(f.Fd())) || !drawable(f.Fd()) {
		return nil, false
	}
	return func() (columns, rows int) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0, 0
		}
		return columns, rows
	}, true
}
