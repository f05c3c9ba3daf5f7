package stagewright_test

import (
	"context"
	"fmt"
	"io/fs"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// An image of two files, built in memory.
func ExampleBuild() {
	app := stage.Scratch().
		Copy(".", "/srv/").
		File("/etc/motd", "hello\n").
		Cmd("/srv/run")
	res, err := stagewright.Build(context.Background(), app, stagewright.Options{
		Context: stagewright.FS(fstest.MapFS{"run": {Data: []byte("#!/bin/sh\n"), Mode: 0o755}}),
		Store:   cache.NewMemory(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Close()
	files, err := res.FS()
	if err != nil {
		fmt.Println(err)
		return
	}
	motd, err := fs.ReadFile(files, "etc/motd")
	fmt.Printf("%s%v %v\n", motd, res.Config().Cmd, err)
	// Output:
	// hello
	// [/srv/run] <nil>
}

// Why a build would do something again.
func ExampleExplain() {
	ctx := context.Background()
	o := stagewright.Options{
		Context: stagewright.FS(fstest.MapFS{"web/app.js": {Data: []byte("1")}, "web/index.html": {Data: []byte("1")}}),
		Store:   cache.NewMemory(),
	}
	app := stage.Scratch(stage.As("app")).Copy("web", "/srv/").Mkdir("/tmp", stage.Mode(0o1777))
	res, err := stagewright.Build(ctx, app, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	res.Close()
	o.Context = stagewright.FS(fstest.MapFS{"web/app.js": {Data: []byte("2")}, "web/index.html": {Data: []byte("1")}})
	list, err := stagewright.Explain(ctx, app, o)
	for _, e := range list {
		if e.Cause != "" {
			fmt.Printf("%s: %s\n", e.Step.Text, e)
		}
	}
	fmt.Println(err)
	// Output:
	// COPY web /srv/: web/app.js: content
	// MKDIR /tmp: stands on COPY web /srv/, which changed
	// <nil>
}

// Why a build did something again.
func ExampleResult_Explain() {
	ctx := context.Background()
	store := cache.NewMemory()
	for _, mode := range []uint32{0o755, 0o700} {
		res, err := stagewright.Build(ctx, stage.Scratch(stage.As("app")).Mkdir("/data", stage.Mode(mode)), stagewright.Options{Store: store})
		if err != nil {
			fmt.Println(err)
			return
		}
		list, err := stage.ExplainResult(ctx, res) // or res.Explain(ctx)
		fmt.Println(list[0], err)
		res.Close()
	}
	// Output:
	// never built before <nil>
	// mode changed (0755 -> 0700) <nil>
}

// The stages of the README, checked without a registry: bases stay unresolved.
func Example_seed() {
	goVersion := arg.New("GO_VERSION", arg.Default("1.26"))
	builder := stage.From("golang:${GO_VERSION}", stage.As("builder"), stage.FromArgs(goVersion)).
		Workdir("/app").
		Copy(stage.Files("go.mod", "go.sum"), "./").
		Run("go mod download", stage.CacheMount("/go/pkg/mod")).
		Copy(".", ".").
		Run("go build -o main .", stage.CacheMount("/root/.cache/go-build"))

	targetEnv := arg.New("TARGET_ENV", arg.OneOf("development", "production"))
	app := stage.From("alpine:3.22").
		Arg(targetEnv).
		Workdir("/app").
		CopyFrom(builder, "/app/main", ".").
		CopyFrom(builder, "/app/config-${TARGET_ENV}.yaml", "/app/config.yaml").
		Expose(8080).
		Cmd("./main")

	g, err := stage.Compile(context.Background(), []stage.Stage{app}, stage.Options{Args: arg.Values{"TARGET_ENV": "production"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range g.Steps() {
		fmt.Println(step.Text)
	}
	// Output:
	// FROM alpine:3.22
	// ARG TARGET_ENV=production
	// WORKDIR /app
	// FROM golang:1.26
	// WORKDIR /app
	// COPY go.mod go.sum ./
	// RUN /bin/sh -c go mod download
	// COPY . .
	// RUN /bin/sh -c go build -o main .
	// COPY --from=builder /app/main .
	// COPY --from=builder /app/config-production.yaml /app/config.yaml
	// EXPOSE [8080/tcp]
	// CMD ["./main"]
}

// Where the context is a git repository, the commit of its files is known, and is in the
// image's annotations.
func ExampleResult_annotations() {
	res, err := stagewright.Build(context.Background(), stage.Scratch().File("/motd", "hello\n"), stagewright.Options{
		Store:       cache.NewMemory(),
		Annotations: map[string]string{"org.opencontainers.image.title": "greeting"},
	})
	if err != nil {
		panic(err)
	}
	defer res.Close()
	img, err := res.Image()
	if err != nil {
		panic(err)
	}
	m, err := img.Manifest()
	if err != nil {
		panic(err)
	}
	_, ok := stage.ContextOrigin(res.Result)
	fmt.Println(m.Annotations, ok)
	// Output: map[org.opencontainers.image.title:greeting] false
}
