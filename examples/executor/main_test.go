package main

import (
	"context"
	"io"
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
)

func TestRun(t *testing.T) {
	exampletest.Run(t, uncached, `
5 steps, and in the image: the program
main.go:35: stage app: RUN /bin/sh -c apk add curl: not supported by this executor; use inline files and copies of one file from a stage
`)
}

func uncached(ctx context.Context, _ string, out io.Writer) error { return run(ctx, out) }
