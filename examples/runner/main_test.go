package main

import (
	"context"
	"io"
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
	"github.com/stagewright/stagewright/stage/stagetest"
)

func TestRun(t *testing.T) {
	stagetest.NeedsSandbox(t)
	exampletest.Run(t, uncached, `
RUN cat /interfaces: lo
/bin/sh -c ls /sys/class/net > /interfaces: exit code 0
cat /interfaces: exit code 0
`)
}

func uncached(ctx context.Context, _ string, out io.Writer) error { return run(ctx, out) }
