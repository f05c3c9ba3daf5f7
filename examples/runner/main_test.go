package main

import (
	"context"
	"io"
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
)

func TestRun(t *testing.T) {
	exampletest.NeedSandbox(t)
	exampletest.Run(t, uncached, `
RUN cat /interfaces: lo
/bin/sh -c ls /sys/class/net > /interfaces: exit code 0
cat /interfaces: exit code 0
`)
}

func uncached(ctx context.Context, _ string, out io.Writer) error { return run(ctx, out) }
