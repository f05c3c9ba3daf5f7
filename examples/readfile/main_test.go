package main

import (
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
)

func TestRun(t *testing.T) {
	exampletest.NeedSandbox(t)
	exampletest.Run(t, run, `
2 apple
1 banana
1 cherry
`)
}
