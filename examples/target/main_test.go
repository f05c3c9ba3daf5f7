package main

import (
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
)

func TestRun(t *testing.T) {
	exampletest.NeedSandbox(t)
	exampletest.Run(t, run, `
stage test: built
stage release: built
stage build: built
stage release: not built, since stage test failed
`)
}
