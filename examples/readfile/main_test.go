package main

import (
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
	"github.com/stagewright/stagewright/stage/stagetest"
)

func TestRun(t *testing.T) {
	stagetest.NeedsSandbox(t)
	exampletest.Run(t, run, `
2 apple
1 banana
1 cherry
`)
}
