//go:build !linux

package source

import "testing"

func makeFifo(t *testing.T, path string) {
	t.Helper()
	t.Skip("named pipes are tested on Linux")
}
