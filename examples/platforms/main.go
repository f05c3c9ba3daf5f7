// Platforms builds one index for two architectures, from a stage that differs by platform. It only copies files, so both are made on any
// machine. A stage that compiles would be pinned to this machine with stage.OnBuildPlatform and hand ${TARGETARCH} to the compiler.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

var releases = fstest.MapFS{
	"app-amd64": {Data: []byte("machine code\n"), Mode: 0o755},
	"app-arm64": {Data: []byte("other machine code\n"), Mode: 0o755},
	"qat.conf":  {Data: []byte("device = /dev/qat\n")},
}

// tuned is chosen anew for each platform.
var tuned = stage.ForPlatform(func(p platform.Platform) stage.Stage {
	if p.Architecture == "amd64" {
		return stage.Scratch(stage.As("accelerated")).Copy("qat.conf", "/etc/")
	}
	return stage.Scratch(stage.As("plain"))
})

var app = stage.From(tuned, stage.As("app")).
	Arg(arg.New("TARGETARCH")).
	Copy("app-${TARGETARCH}", "/app").
	Entrypoint("/app")

func run(ctx context.Context, cache string, out io.Writer) error {
	res, err := stagewright.Build(ctx, app, stagewright.Options{
		Context:   stagewright.FS(releases),
		Platforms: platform.MustParseSet("linux/amd64,linux/arm64"),
		CacheDir:  cache,
	})
	if err != nil {
		return err
	}
	defer res.Close()
	for _, o := range res.Outputs() {
		layers, err := o.Image.Layers()
		if err != nil {
			return err
		}
		digest, err := o.Image.Digest()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d layers, %s\n", o.Platform, len(layers), digest)
	}
	digest, err := res.Digest()
	fmt.Fprintln(out, "index:", digest)
	return err
}

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
