// Target builds a stage other than the last one: the tests alone, as `docker build --target test` does. And it gates: the release stage
// needs the test stage, takes no file from it, and is not built when the tests fail.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/examples/internal/base"
	"github.com/stagewright/stagewright/stage"
)

// stages are variables, so a target is a variable too.
type stages struct{ build, test, release stage.Stage }

func pipeline(shell stage.Stage, greeting string) stages {
	var s stages
	s.build = stage.From(shell, stage.As("build")).
		Workdir("/src").
		File("greet.sh", "echo "+greeting+" \"$1\"\n").
		Run("(echo '#!/bin/sh'; cat greet.sh) > /greet && chmod +x /greet")
	s.test = stage.From(s.build, stage.As("test")).
		Run(`echo testing; test "$(/greet world)" = "hello world"`)
	s.release = stage.From(shell, stage.As("release")).
		CopyFrom(s.build, "/greet", "/usr/bin/greet").
		Cmd("greet", "world").
		Needs(s.test)
	return s
}

func run(ctx context.Context, cache string, out io.Writer) error {
	shell, err := base.Shell(ctx)
	if err != nil {
		return err
	}
	good, bad := pipeline(shell, "hello"), pipeline(shell, "goodbye")
	for _, target := range []stage.Stage{good.test, good.release, bad.build, bad.release} {
		res, err := stagewright.Build(ctx, target, stagewright.Options{CacheDir: cache})
		var failed *stage.Error
		if errors.As(err, &failed) {
			fmt.Fprintf(out, "%s: not built, since stage %s failed\n", target, failed.Stage)
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: built\n", target)
		if err := res.Close(); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
