package main

import (
	"testing"

	"github.com/stagewright/stagewright/examples/internal/exampletest"
)

func TestRun(t *testing.T) {
	exampletest.Run(t, run, `
development: app/config.yaml: log: everything
development: app/debug.yaml: trace: everything
production: app/config.yaml: log: errors
`)
}
