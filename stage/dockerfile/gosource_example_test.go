package dockerfile_test

import (
	"context"
	"fmt"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

func ExampleGoSource() {
	file, err := dockerfile.Parse("Dockerfile", []byte(`
FROM golang:1.26 AS builder
COPY . /src
RUN cd /src && go build -o /app .

FROM scratch
COPY --from=builder /app /app
ENTRYPOINT ["/app"]
`), dockerfile.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	target, err := file.Target("")
	if err != nil {
		fmt.Println(err)
		return
	}
	graph, err := stage.Compile(context.Background(), []stage.Stage{target}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := dockerfile.GoSource(graph, dockerfile.GoOptions{Package: "app"})
	fmt.Printf("%s", source)
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// package app
	//
	// import "github.com/stagewright/stagewright/stage"
	//
	// // Target returns the image of Dockerfile.
	// func Target() stage.Stage {
	// 	docker := stage.Compatible(stage.DockerRules{})
	//
	// 	builder := stage.From("golang:1.26", docker, stage.As("builder")).
	// 		Copy(".", "/src").
	// 		Run("cd /src && go build -o /app .")
	//
	// 	return stage.Scratch(docker).
	// 		CopyFrom(builder, "/app", "/app").
	// 		Entrypoint("/app")
	// }
}
