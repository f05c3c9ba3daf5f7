//go:build !linux

package namespaces

import (
	"context"
	"runtime"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage/sandbox"
)

func unavailable() error {
	return &sandbox.UnavailableError{
		Cause: "Run steps need Linux namespaces, and this is " + runtime.GOOS,
		Fix:   "build on a Linux machine or in a Linux virtual machine; stages without Run steps build here",
	}
}

type spares struct{}

func (r *Runner) run(context.Context, *sandbox.Spec) (sandbox.Status, error) {
	return sandbox.Status{}, unavailable()
}

func prepare() {}

func (r *Runner) probe(context.Context) error { return unavailable() }

func (r *Runner) checkPlatform(context.Context, platform.Platform, map[string]string) error {
	return unavailable()
}

func (r *Runner) checkIdmapped(context.Context, sandbox.IDs) error { return unavailable() }

func subordinateIDs() (sandbox.IDs, error) { return sandbox.IDs{}, unavailable() }

func checkLimits(*sandbox.Limits) error { return unavailable() }
