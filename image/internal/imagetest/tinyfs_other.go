//go:build !linux

package imagetest

import "testing"

// TinyFS skips the test: only Linux has tmpfs.
func TinyFS(tb testing.TB, _ int) string {
	tb.Helper()
	tb.Skip("there is no tmpfs on this system")
	return ""
}
