package report

import "golang.org/x/sys/windows"

// drawable reports whether a console understands control sequences, and switches
// that on (Console Virtual Terminal Sequences, Windows 10 1511 and later).
func drawable(fd uintptr) bool {
	var mode uint32
	if windows.GetConsoleMode(windows.Handle(fd), &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(windows.Handle(fd), mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
