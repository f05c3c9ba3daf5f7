package main

import (
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
)

func TestRun(t *testing.T) {
	exampletest.Run(t, run, `
linux/amd64: 2 layers, sha256:339c3e5860e3630ea2250eb75d5add8a02292a48f573ed83e601e81eba5b46d5
linux/arm64: 1 layers, sha256:125240b029f4101ea2d6523afad7188ed896312f8b3d5b79e1ca1e68b9a158e1
index: sha256:dbffa5b40964f2566fcdf525a56a1efcaa65a011717f02aa0a4411bee7dc7f4c
`)
}
