package dockerfile_test

import (
	"context"
	"fmt"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

func ExampleWrite() {
	version := arg.New("GO_VERSION", arg.Default("1.26"))
	builder := stage.From("golang:${GO_VERSION}", stage.As("builder"), stage.FromArgs(version)).
		Workdir("/src").
		Copy(".", ".").
		Run("go build -o /app .", stage.CacheMount("/root/.cache/go-build"))
	app := stage.Scratch().
		CopyFrom(builder, "/app", "/app").
		File("/etc/app.conf", "port = 8080\n").
		Label("about", "A small server").
		Entrypoint("/app")
	graph, err := stage.Compile(context.Background(), []stage.Stage{app}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := dockerfile.Write(graph)
	fmt.Printf("%s", text)
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// # syntax=docker/dockerfile:1
	// ARG GO_VERSION=1.26
	//
	// FROM golang:${GO_VERSION} AS builder
	// WORKDIR /src
	// COPY . .
	// RUN --mount=type=cache,target=/root/.cache/go-build go build -o /app .
	//
	// FROM scratch
	// COPY --from=builder /app /app
	// COPY <<EOF /etc/app.conf
	// port = 8080
	// EOF
	// LABEL about="A small server"
	// ENTRYPOINT ["/app"]
}
