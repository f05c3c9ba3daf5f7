// Services makes three images from one builder by a Go function, where a Dockerfile has the same lines three times or one per service.
package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"os"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/examples/internal/base"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/stage"
)

//go:embed src
var sources embed.FS

// service is the image of one service: compiled in a fork of the builder, and put on the runtime base.
func service(builder, runtime stage.Stage, name string) stage.Stage {
	compiled := builder.Run("cat lib.sh cmd/" + name + ".sh > /out/" + name + " && chmod +x /out/" + name)
	return stage.From(runtime, stage.As(name)).
		CopyFrom(compiled, stage.Paths("/out/"+name), "/bin/").
		Cmd(name)
}

func run(ctx context.Context, cache, dir string, out io.Writer) error {
	shell, err := base.Shell(ctx)
	if err != nil {
		return err
	}
	// In a real one: golang, go mod download, the packages that all services share.
	builder := stage.From(shell, stage.As("builder")).
		Workdir("/src").
		Copy("src", ".").
		Run("mkdir /out && sed -i s/VERSION/1.0/ lib.sh")

	for _, name := range []string{"orders", "users", "mail"} {
		res, err := stagewright.Build(ctx, service(builder, shell, name), stagewright.Options{
			Context:  stagewright.FS(sources),
			CacheDir: cache,
			Sinks:    []image.Sink{layout.Dir(dir, name)},
		})
		if err != nil {
			return err
		}
		defer res.Close()
		fmt.Fprintf(out, "%s: %d steps run; it says: ", name, res.Report().Ran())
		if err := res.Run(ctx, stage.Process{Stdout: out}); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(context.Background(), "", "services-oci", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
