// Package base gives the examples an image to stand on where there is no registry.
package base

import (
	"context"

	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/stage"
)

// Shell is a stage with /bin/sh and core commands, compiled from Go modules the first time and kept in the user's cache directory. A
// program outside this module writes stage.From("alpine:3.22") in its place.
func Shell(ctx context.Context) (stage.Stage, error) {
	tools, err := toolbox.Build(ctx, "")
	if err != nil {
		return stage.Stage{}, err
	}
	return stage.Scratch(stage.As("shell")).CopyFrom(stage.FS(tools.Files()), ".", "/"), nil
}
