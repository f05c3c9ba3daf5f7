package main

import (
	"context"
	"io"
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
)

func TestRun(t *testing.T) {
	exampletest.Run(t, uncached, `
3 layers
sha256:cc01a51c97d1d718f33b0064c068aa6c6fecf23cda555589bb8be5b778ec5c7c
`)
}

func uncached(ctx context.Context, _ string, out io.Writer) error { return run(ctx, out) }
