// Quickstart builds a container image in two stages, on a Linux machine that has Go and nothing else: no daemon, no root, no registry.
//
//	go run ./examples/quickstart
//
// A builder stage compiles a small web server, a runtime stage takes the binary. The image is written to DIR/oci, an OCI image layout,
// and to DIR/app.tar, for `docker load` and `podman load`. Then the image's own command is started in the sandbox and its page is fetched.
// The last line of the standard output is the digest of the image; everything else goes to the standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// settings are the flags. Without -cache, cache and tools are empty: the packages that use them have places of their own.
type settings struct{ out, cache, tools, builder, runtime, progress string }

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.out, "o", "out", "write the image to `DIR`/oci and DIR/app.tar")
	flags.StringVar(&s.cache, "cache", "", "keep everything that a second run need not do again in `DIR` (default: the user's cache directory)")
	flags.StringVar(&s.builder, "builder", "", "compile on the image `REF`, such as golang:1.26 (default: the machine's own Go)")
	flags.StringVar(&s.runtime, "runtime", "", "put the program on the image `REF`, such as alpine:3.22 (default: an empty image)")
	flags.StringVar(&s.progress, "progress", "plain", "show what happens as `FORM`: plain, tty or json")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if s.cache != "" {
		s.tools, s.cache = filepath.Join(s.cache, "toolbox"), filepath.Join(s.cache, "build")
	}
	return s, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	progress, err := report.New(s.progress, stderr)
	if err != nil {
		return err
	}
	builder, runtime := stage.From(s.builder, stage.As("builder")), stage.From(s.runtime, stage.As("app"))
	if s.builder == "" {
		if builder, err = machineGo(ctx, s.tools); err != nil {
			return err
		}
	}
	if s.runtime == "" {
		runtime = stage.Scratch(stage.As("app"))
	}
	res, err := stagewright.Build(ctx, application(builder, runtime), stagewright.Options{
		Context:  stagewright.FS(source),
		CacheDir: s.cache,
		Progress: progress.Event,
		Sinks: []image.Sink{
			layout.Dir(filepath.Join(s.out, "oci"), "quickstart:latest"),
			archive.Docker(filepath.Join(s.out, "app.tar"), "quickstart:latest"),
		},
	})
	if err := errors.Join(err, progress.Close()); err != nil {
		return err
	}
	defer res.Close()
	fmt.Fprintf(stderr, "wrote %s and %s\n", filepath.Join(s.out, "oci"), filepath.Join(s.out, "app.tar"))
	page, err := fetch(ctx, res, stderr)
	if err != nil {
		return fmt.Errorf("start the image: %w", err)
	}
	fmt.Fprintf(stderr, "its server says: %s", page)
	digest, err := res.Digest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, digest)
	return err
}
