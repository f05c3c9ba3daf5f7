// Files makes an image of three files in memory, as a test of a program that reads images would: no disk, no network, no sandbox, and
// the same digest every time.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

func run(ctx context.Context, out io.Writer) error {
	app := stage.Scratch().
		File("/etc/app.conf", "verbose = true\n").
		File("/bin/app", "#!/bin/sh\necho hello\n", stage.Mode(0o755)).
		Symlink("app", "/bin/run").
		Cmd("/bin/run")

	res, err := stagewright.Build(ctx, app, stagewright.Options{Store: cache.NewMemory(), Platforms: platform.MustParseSet("linux/amd64")})
	if err != nil {
		return err
	}
	defer res.Close()

	img, err := res.Image() // a v1.Image of github.com/google/go-containerregistry
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, len(layers), "layers")
	fmt.Fprintln(out, digest)
	return nil
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
