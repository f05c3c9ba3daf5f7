// Conditional chooses what goes into an image: a file by the value of an argument, and a whole step by an if of Go.
//
// Dockerfiles have the first, COPY config-${TARGET_ENV}.yaml, and for the second only tricks: a stage for each case with its value in
// the name, or an if within RUN, which leaves its layer in both cases.
package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

//go:embed config-*.yaml
var files embed.FS

var targetEnv = arg.New("TARGET_ENV", arg.Required(), arg.OneOf("development", "production"))

// application is a function, so its parameters are Go values and its conditions Go.
func application(debug bool) stage.Stage {
	app := stage.Scratch(stage.As("app")).
		Arg(targetEnv).
		Copy("config-${TARGET_ENV}.yaml", "/app/config.yaml")
	if debug {
		app = app.File("/app/debug.yaml", "trace: everything\n").Env("DEBUG", "1")
	}
	return app
}

func run(ctx context.Context, cache string, out io.Writer) error {
	for _, env := range []string{"development", "production"} {
		app := application(env == "development")
		res, err := stagewright.Build(ctx, app, stagewright.Options{
			Context:  stagewright.FS(files),
			Args:     arg.Values{"TARGET_ENV": env},
			CacheDir: cache,
		})
		if err != nil {
			return err
		}
		defer res.Close()
		files, err := res.FilesOf(app)
		if err != nil {
			return err
		}
		if err := list(out, env, files); err != nil {
			return err
		}
	}
	return nil
}

func list(out io.Writer, env string, files fs.FS) error {
	return fs.WalkDir(files, "app", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		fmt.Fprintf(out, "%s: %s: %s", env, path, text)
		return err
	})
}

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
