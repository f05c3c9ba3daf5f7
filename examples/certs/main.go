// Certs puts a static binary and the certificates of authorities on an empty base: all that a program needs to speak HTTPS.
//
// It compiles on this machine instead of in a builder stage, since Go gives the same static binary anywhere. The Dockerfile is
//
//	FROM scratch
//	COPY --from=alpine /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
//	COPY hello /hello
//	USER 65534:65534
//	ENTRYPOINT ["/hello"]
package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
)

// certificates has one authority; stage.Image("alpine:3.22") in its place has them all, under the path that Go looks at first.
//
//go:embed ca-certificates.crt
var certificates embed.FS

func run(ctx context.Context, cache string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "certs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, "hello"),
		"github.com/stagewright/stagewright/examples/certs/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}

	app := stage.Scratch().
		CopyFrom(stage.FS(certificates), "ca-certificates.crt", "/etc/ssl/certs/").
		Copy("hello", "/hello").
		Entrypoint("/hello")

	res, err := stagewright.Build(ctx, app, stagewright.Options{Context: stagewright.Dir(dir), CacheDir: cache})
	if err != nil {
		return err
	}
	defer res.Close()
	return res.Run(ctx, stage.Process{Stdout: out, Network: stage.NetworkNone})
}

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
