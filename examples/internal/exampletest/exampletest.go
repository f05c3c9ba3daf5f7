// Package exampletest runs the examples in tests.
package exampletest

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// Program is an example: it keeps its cache in a directory and writes what it has to say to out.
type Program func(ctx context.Context, cache string, out io.Writer) error

// NeedSandbox skips a test on a machine that cannot run build steps.
func NeedSandbox(t *testing.T) {
	t.Helper()
	if err := sandbox.Probe(t.Context(), namespaces.New(namespaces.Options{})); err != nil {
		t.Skipf("no sandbox on this machine: %v", err)
	}
}

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

// Registry starts a registry on this machine and returns its address.
func Registry(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// Push builds a stage and pushes it.
func Push(t *testing.T, s stage.Stage, context stage.Source, ref string) {
	t.Helper()
	res, err := stagewright.Build(t.Context(), s, stagewright.Options{
		Context: context, CacheDir: t.TempDir(), Sinks: []image.Sink{registry.Push(ref)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Close(); err != nil {
		t.Error(err)
	}
}
