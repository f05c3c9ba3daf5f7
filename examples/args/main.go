// Args builds with arguments that have a type, a default and a check: a version for a base's name or a file's, a choice, a number.
//
// A Dockerfile would say
//
//	ARG VERSION=1.4.2
//	ARG MODE=production
//	ARG PORT=8080
//	ENV APP_MODE=${MODE}
//	COPY app-${VERSION}.sh /app
//	LABEL version=${VERSION}
//	EXPOSE ${PORT}
//
// and find a wrong value when the container does not start.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

var (
	version = arg.New("VERSION", arg.Default("1.4.2"), arg.Doc("the release to ship"))
	mode    = arg.New("MODE", arg.Default("production"), arg.OneOf("development", "production"))
	port    = arg.New("PORT", arg.Default("8080"), arg.IntRange(1024, 65535), arg.Doc("where it listens"))
)

var app = stage.Scratch(stage.As("app")).
	Arg(version, mode, port).
	Env("APP_MODE", "${MODE}").
	Copy("app-${VERSION}.sh", "/app").
	Label("version", "${VERSION}").
	ExposeSpec("${PORT}")

var releases = fstest.MapFS{
	"app-1.4.2.sh": {Data: []byte("echo 1.4.2\n")},
	"app-2.0.0.sh": {Data: []byte("echo 2.0.0\n")},
}

func run(ctx context.Context, cache string, out io.Writer) error {
	for _, values := range []arg.Values{
		{},
		{"VERSION": "2.0.0", "MODE": "development", "PORT": "9090"},
		{"VERSION": "2.0.1", "MODE": "prod", "PORT": "80", "MOD": "x"}, // every mistake is told, before anything runs
		{"VERSION": "2.0.1"},
	} {
		res, err := stagewright.Build(ctx, app, stagewright.Options{Context: stagewright.FS(releases), Args: values, CacheDir: cache})
		if err != nil {
			fmt.Fprintln(out, err)
			continue
		}
		defer res.Close()
		image, err := res.Image()
		if err != nil {
			return err
		}
		file, err := image.ConfigFile()
		if err != nil {
			return err
		}
		fmt.Fprintln(out, file.Config.Labels["version"], file.Config.Env[1:], file.Config.ExposedPorts)
	}
	return nil
}

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
