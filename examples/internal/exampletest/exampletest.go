// Package exampletest runs the examples in tests.
package exampletest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// Program is an example: it keeps its cache in a directory and writes what it has to say to out.
type Program func(ctx context.Context, cache string, out io.Writer) error

// Run runs the program twice, the second time with a warm cache, and wants the same output from both.
func Run(t *testing.T, program Program, want string) {
	t.Helper()
	cache := t.TempDir()
	for _, round := range []string{"first", "second"} {
		var out bytes.Buffer
		if err := program(t.Context(), cache, &out); err != nil {
			t.Fatalf("%s run: %v", round, err)
		}
		if got := out.String(); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Fatalf("%s run: got\n%s\nwant\n%s", round, got, strings.TrimSpace(want))
		}
	}
}
