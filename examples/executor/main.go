// Executor evaluates stages with a stage.Executor of its own, of less than a hundred lines. Package stage/executortest has the tests for
// one that wants to do everything.
package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
)

func run(ctx context.Context, out io.Writer) error {
	build := stage.Scratch(stage.As("build")).File("/out/app", "the program\n", stage.Mode(0o755))
	app := stage.Scratch(stage.As("app")).CopyFrom(build, "/out/app", "/bin/app").Cmd("/bin/app")

	res, err := stagewright.Build(ctx, app, stagewright.Options{Executor: inMemory{}})
	if err != nil {
		return err
	}
	defer res.Close()
	files, err := res.FilesOf(app)
	if err != nil {
		return err
	}
	text, err := fs.ReadFile(files, "bin/app")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d steps, and in the image: %s", res.Report().Ran(), text)

	_, err = stagewright.Build(ctx, app.Run("apk add curl"), stagewright.Options{Executor: inMemory{}})
	fmt.Fprintln(out, err)
	return nil
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
