package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/stage"
)

// seed is the Go program in two stages that the documentation begins with.
func seed(base string) stage.Stage {
	builder := stage.From(base, stage.As("builder")).
		Env("PATH", "/usr/local/go/bin:/bin", "CGO_ENABLED", "0", "GOPATH", "/go", "GOTOOLCHAIN", "local").
		Workdir("/app").
		Copy("go.mod", "./").
		Copy(".", ".").
		Run("go build -o /main ./app", stage.CacheMount("/root/.cache/go-build"))
	return stage.Scratch(stage.As("app")).CopyFrom(builder, "/main", "/app/main").Expose(8080).Cmd("/app/main")
}

// chain is 100 processes in a row, each of which writes one file.
func chain(base string) stage.Stage {
	s := stage.From(base)
	for i := range 100 {
		s = s.Run(fmt.Sprintf("echo %d > /file%d", i, i))
	}
	return s
}

// repeat builds an image into an OCI layout and a docker archive, as the quickstart does, and then again in the same process.
func (c config) repeat(ctx context.Context, s stage.Stage, o stagewright.Options) error {
	o.CacheDir = c.cacheDir
	o.Sinks = []image.Sink{layout.Dir(filepath.Join(c.outDir, "oci"), "bench:latest"), archive.Docker(filepath.Join(c.outDir, "image.tar"), "bench:latest")}
	var times bytes.Buffer
	for i := range c.again + 1 {
		start := time.Now()
		res, err := stagewright.Build(ctx, s, o)
		if err != nil {
			return err
		}
		if err := res.Close(); err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(&times, time.Since(start).Nanoseconds())
		}
	}
	if c.again == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(c.outDir, "again"), times.Bytes(), 0o644)
}
