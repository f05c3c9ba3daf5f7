//go:build !windows

package report

// drawable reports whether a terminal understands control sequences.
func drawable(uintptr) bool { return true }
