package main

import (
	"context"
	"slices"
	"strings"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

// builtStages leaves out of --no-cache-filter the stages of the Dockerfile that the target does not need, as docker build does. A name
// that the Dockerfile has not got stays: the build says what was probably meant.
func builtStages(ctx context.Context, file *dockerfile.File, target stage.Stage, o stagewright.Options) []string {
	if len(o.NoCacheStages) == 0 {
		return nil
	}
	g, err := stage.Compile(ctx, []stage.Stage{target}, stage.Options{
		Args: o.Args, Platforms: o.Platforms, OnBuild: o.OnBuild, Labels: o.Labels, Run: o.Run,
	})
	if err != nil {
		return o.NoCacheStages // the build says what is wrong
	}
	has := func(names []string, name string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
	}
	var built []string
	for _, step := range g.Steps() {
		if !slices.Contains(built, step.Stage) {
			built = append(built, step.Stage)
		}
	}
	return slices.DeleteFunc(slices.Clone(o.NoCacheStages), func(name string) bool { return has(file.Stages(), name) && !has(built, name) })
}
