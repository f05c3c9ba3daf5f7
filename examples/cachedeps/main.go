// Cachedeps copies the list of dependencies before the rest, so that installing them is not repeated when only the code changed.
//
// It is the Dockerfile
//
//	FROM node AS app
//	WORKDIR /app
//	COPY package.json ./
//	RUN npm install
//	COPY . .
//	RUN npm run build
//
// with a shell script in the part of npm.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/examples/internal/base"
	"github.com/stagewright/stagewright/stage"
)

const (
	install = `mkdir deps && for d in $(cat package.txt); do echo "module $d" > deps/$d; done`
	bundle  = `cat deps/* main.txt > /bundle.txt`
)

func run(ctx context.Context, cache string, out io.Writer) error {
	node, err := base.Shell(ctx)
	if err != nil {
		return err
	}
	app := stage.From(node, stage.As("app")).
		Workdir("/app").
		Copy("package.txt", "./").
		Run(install).
		Copy(".", ".").
		Run(bundle)

	code := fstest.MapFS{
		"package.txt": {Data: []byte("left-pad\nrouter\n")},
		"main.txt":    {Data: []byte("start()\n")},
	}
	build := func(title string) error {
		res, err := stagewright.Build(ctx, app, stagewright.Options{Context: stagewright.FS(code), CacheDir: cache})
		if err != nil {
			return err
		}
		fmt.Fprintln(out, title)
		for _, step := range res.Report().Steps {
			if op, ok := res.Graph().Steps()[step.Step].Op.(*stage.RunOp); ok {
				fmt.Fprintf(out, "  %-4s %.20s…\n", step.Status, op.Command)
			}
		}
		return res.Close()
	}
	if err := build("as it is:"); err != nil {
		return err
	}
	code["main.txt"] = &fstest.MapFile{Data: []byte("start(again)\n")}
	if err := build("the code is edited:"); err != nil {
		return err
	}
	code["package.txt"] = &fstest.MapFile{Data: []byte("left-pad\nrouter\ntemplates\n")}
	return build("a dependency is added:")
}

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
