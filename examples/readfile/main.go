// Readfile runs a step for the sake of one file that it makes, and reads the file: no image is written anywhere. A code generator, a
// compiler or a test report that wants a pinned environment is used so.
package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/examples/internal/base"
	"github.com/stagewright/stagewright/stage"
)

func run(ctx context.Context, cache string, out io.Writer) error {
	shell, err := base.Shell(ctx)
	if err != nil {
		return err
	}
	report := stage.From(shell, stage.As("report")).
		Workdir("/src").
		File("words.txt", "cherry\napple\nbanana\napple\n").
		Run("sort words.txt | uniq -c | sed 's/^ *//' > /report.txt")

	res, err := stagewright.Build(ctx, report, stagewright.Options{CacheDir: cache})
	if err != nil {
		return err
	}
	defer res.Close()

	files, err := res.FilesOf(report) // of this stage, or of any other that the build needed
	if err != nil {
		return err
	}
	text, err := fs.ReadFile(files, "report.txt")
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
