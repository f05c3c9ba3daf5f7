package main

import (
	"context"
	"embed"

	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/stage"
)

//go:embed app/main.go
var source embed.FS

// application is the image: a builder stage that compiles, and a runtime stage that has the binary and nothing else of it.
func application(builder, runtime stage.Stage) stage.Stage {
	build := builder.
		Workdir("/src").
		File("go.mod", "module app\n\ngo 1.24\n").
		Copy("app/main.go", ".").
		Env("CGO_ENABLED", "0").
		Run("go build -trimpath -o /out/app .", stage.CacheMount("/root/.cache/go-build"), stage.WithNetwork(stage.NetworkNone))

	return runtime.
		CopyFrom(build, "/out/app", "/app").
		Expose(8080).
		Cmd("/app")
}

// machineGo is a builder stage for a machine that has Go and cannot, or need not, download an image: a static shell with core commands,
// compiled from Go modules into dir, and the machine's own Go toolchain.
//
// A program outside this module has no package toolbox. It writes stage.From("golang:1.26").
func machineGo(ctx context.Context, dir string) (stage.Stage, error) {
	tools, err := toolbox.Build(ctx, dir)
	if err != nil {
		return stage.Stage{}, err
	}
	toolchain, err := toolbox.Toolchain(ctx)
	if err != nil {
		return stage.Stage{}, err
	}
	return stage.Scratch(stage.As("builder")).
		CopyFrom(stage.FS(tools.Files()), ".", "/").
		CopyFrom(stage.Dir(toolchain.Root, toolchain.Ignore...), ".", "/usr/local/go").
		Env("PATH", "/usr/local/go/bin:${PATH}"), nil
}
