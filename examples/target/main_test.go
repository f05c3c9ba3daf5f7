package main

import (
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
	"github.com/stagewright/stagewright/stage/stagetest"
)

func TestRun(t *testing.T) {
	stagetest.NeedsSandbox(t)
	exampletest.Run(t, run, `
stage test: built
stage release: built
stage build: built
stage release: not built, since stage test failed
`)
}
