// Dockerfile builds the image of a Dockerfile, with the command line of docker build and without a daemon.
//
//	go run ./examples/dockerfile -t example.com/app:1.0 --output type=oci,dest=out .
//
// The Dockerfile becomes a stage of package stage (stage/dockerfile), which stagewright.Build builds as it builds any other; the flags are
// fields of stagewright.Options. With --explain the program says which steps would be built, and why. With --print go the program writes the stage as Go source instead, which is how a Dockerfile moves to Go.
//
// "dockerfile du" tells what the cache takes on the disk, and "dockerfile prune" makes it smaller, as docker buildx does; --help of each lists its flags. "dockerfile verify" reads all of
// it and compares it with its checksums. "dockerfile compact" does for a cache in a registry what has to be done now and then.
//
// The last line of the standard output is the digest of the image; progress and warnings go to the standard error. The exit code is 0 only
// for a build that ended well.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
	"github.com/stagewright/stagewright/stage/report"
)

func main() {
	startLarge()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "dockerfile:", err)
		os.Exit(1)
	}
}

// startLarge has the first garbage collection wait until the heap has some 50 MB. A build lasts a fraction of a second, in which the
// collector would else begin a dozen times on the way there; from then on it is as it always is. Who sets GOGC has what he says.
func startLarge() {
	if os.Getenv("GOGC") != "" {
		return
	}
	const first = 48 << 20 / (4 << 20) * 100 // percent of the least heap, 4 MiB
	usual := debug.SetGCPercent(first)
	runtime.AddCleanup(new([16]byte), func(percent int) { debug.SetGCPercent(percent) }, usual) // unreachable: it ends with that collection
}

type streams struct {
	in       io.Reader
	out, err io.Writer
}

func run(ctx context.Context, args []string, std streams) error {
	if len(args) > 0 && commands[args[0]] != nil {
		return commands[args[0]](ctx, args[1:], std.out, std.err)
	}
	f, err := parseFlags(args, std.err)
	if err != nil {
		return err
	}
	defer f.cleanUp()
	options, err := f.options(std.in)
	if err != nil {
		return err
	}
	file, err := f.read(ctx, &options, std.in)
	if err != nil {
		return err
	}
	if err := file.CheckArgs(options.Args); err != nil {
		return err
	}
	if f.check {
		return check(ctx, file, f.lint(options), std.out)
	}
	target, err := file.Target(f.target)
	if err != nil {
		return err
	}
	options.OnBuild = file.OnBuild
	options.NoCacheStages = builtStages(ctx, file, target, options)
	if f.print != "" {
		return show(ctx, f.print, target, options, std.out)
	}
	if f.progress != "quiet" && f.progress != "json" {
		warn(ctx, file, f.lint(options), std.err)
	}
	far, err := f.openCaches(&options, std.err)
	if err != nil {
		return err
	}
	defer far.closeAll()
	if f.explain != "" {
		return explain(ctx, f.explain, target, options, std.out)
	}
	if f.verify {
		if err := f.verifyBuild(ctx, target, &options, std); err != nil {
			return err
		}
	}
	return build(ctx, f, target, options, std)
}

// build builds the target and tells its digest.
func build(ctx context.Context, f *flags, target stage.Stage, options stagewright.Options, std streams) error {
	progress, err := report.New(f.progress, std.err)
	if err != nil {
		return err
	}
	options.Progress = progress.Event
	if err := f.sinks(std.out, &options); err != nil {
		return err
	}
	if len(options.Sinks) == 0 {
		fmt.Fprintln(std.err, "dockerfile: no output was asked for: the image stays in the cache; see --output, --push and --load")
	}
	res, err := stagewright.Build(ctx, target, options)
	if err := errors.Join(err, progress.Close()); err != nil {
		return err
	}
	defer res.Close()
	if err := f.writeResult(res); err != nil {
		return err
	}
	digest, err := res.Digest()
	if err != nil || f.toStdout() {
		return err
	}
	_, err = fmt.Fprintln(std.out, digest)
	return err
}

// errWarnings ends --check when there is something to say.
var errWarnings = errors.New("the check found warnings")

// check writes the warnings instead of building.
func check(ctx context.Context, file *dockerfile.File, o dockerfile.LintOptions, out io.Writer) error {
	warnings, err := file.Lint(ctx, o)
	for _, w := range warnings {
		fmt.Fprintf(out, "%s: %s: %s\n", w.Pos, w.Rule, w.Message)
		if w.URL != "" {
			fmt.Fprintf(out, "    %s\n", w.URL)
		}
	}
	switch {
	case err != nil:
		return err
	case len(warnings) > 0:
		return errWarnings
	}
	_, err = fmt.Fprintln(out, "Check complete, no warnings found.")
	return err
}

// warn writes the warnings before a build, which goes on.
func warn(ctx context.Context, file *dockerfile.File, o dockerfile.LintOptions, out io.Writer) {
	warnings, _ := file.Lint(ctx, o) // what is wrong with the target, the build tells
	for _, w := range warnings {
		fmt.Fprintf(out, "warning: %s: %s: %s\n", w.Pos, w.Rule, w.Message)
	}
}

// show writes the graph, or a text that describes it, instead of building.
func show(ctx context.Context, form string, target stage.Stage, o stagewright.Options, out io.Writer) error {
	g, err := stage.Compile(ctx, []stage.Stage{target}, stage.Options{
		Args: o.Args, Platforms: o.Platforms, OnBuild: o.OnBuild, Labels: o.Labels, Run: o.Run,
	})
	if err != nil {
		return err
	}
	var text []byte
	switch form {
	case "go":
		text, err = dockerfile.GoSource(g, dockerfile.GoOptions{})
	case "dockerfile":
		text, err = dockerfile.Write(g)
	case "json":
		text, err = g.MarshalJSON()
		text = append(text, '\n')
	case "dot":
		text = []byte(g.DOT())
	case "mermaid":
		text = []byte(g.Mermaid())
	}
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}
