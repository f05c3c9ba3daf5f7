// Platforms builds one index for two architectures out of three kinds of stages. The builder is pinned to this machine and compiles for the
// others: what is the same for all of them, such as its dependencies, is done once. The runtime is chosen by a Go function, anew for each
// platform. The application only copies files. So both images are made on any machine, and no program of another architecture runs.
//
// A Run step in a stage that is not pinned would need an emulator: one that is registered with the kernel (apt-get install qemu-user-static
// binfmt-support), or Options.Emulators with "arm64": "/usr/bin/qemu-aarch64-static". Without one the build fails before anything runs.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/examples/internal/base"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

var source = fstest.MapFS{
	"app.src":  {Data: []byte("print hello\n")},
	"qat.conf": {Data: []byte("device = /dev/qat\n")},
}

// tuned is chosen anew for each platform.
var tuned = stage.ForPlatform(func(p platform.Platform) stage.Stage {
	if p.Architecture == "amd64" {
		return stage.Scratch(stage.As("accelerated")).Copy("qat.conf", "/etc/")
	}
	return stage.Scratch(stage.As("plain"))
})

// application compiles on machine. Steps above Arg do not know for what, and are the same for all platforms. The compiler is a stand-in: with
// golang:1.26 as the machine the second Run is "GOARCH=$TARGETARCH go build -o /out/app".
func application(machine stage.Stage) stage.Stage {
	builder := stage.From(machine, stage.As("builder"), stage.OnBuildPlatform()).
		Workdir("/src").
		Run("echo 'library' > deps").
		Copy("app.src", ".").
		Arg(arg.New("TARGETARCH")).
		Run("mkdir /out && echo \"code for $TARGETARCH\" | cat - deps app.src > /out/app && chmod 755 /out/app")

	return stage.From(tuned, stage.As("app")).
		CopyFrom(builder, "/out/app", "/app").
		Entrypoint("/app")
}

func run(ctx context.Context, cache string, out io.Writer) error {
	machine, err := base.Shell(ctx)
	if err != nil {
		return err
	}
	res, err := stagewright.Build(ctx, application(machine), stagewright.Options{
		Context:   stagewright.FS(source),
		Platforms: platform.MustParseSet("linux/arm64,linux/amd64"),
		CacheDir:  cache,
	})
	if err != nil {
		return err
	}
	defer res.Close()
	for _, step := range res.Report().Steps {
		if strings.HasPrefix(step.Text, "RUN") {
			fmt.Fprintln(out, step.Text)
		}
	}
	for _, o := range res.Outputs() { // in the order of Options.Platforms, as in the index
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
