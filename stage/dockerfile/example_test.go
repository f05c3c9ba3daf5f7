package dockerfile_test

import (
	"context"
	"fmt"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

func ExampleParse() {
	file, err := dockerfile.Parse("Dockerfile", []byte(`
ARG VERSION=1.26
FROM golang:${VERSION} AS build
WORKDIR /src
COPY . .
RUN go build -o /app .

FROM scratch
COPY --from=build /app /app
ENTRYPOINT ["/app"]
`), dockerfile.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	app, err := file.Target("")
	if err != nil {
		fmt.Println(err)
		return
	}
	graph, err := stage.Compile(context.Background(), []stage.Stage{app}, stage.Options{Args: arg.Values{"VERSION": "1.25"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range graph.Steps() {
		fmt.Println(step.Pos(), step.Text)
	}
	// Output:
	// Dockerfile:8:1 FROM scratch
	// Dockerfile:3:1 FROM golang:1.25
	// Dockerfile:4:1 WORKDIR /src
	// Dockerfile:5:1 COPY . .
	// Dockerfile:6:1 RUN /bin/sh -c go build -o /app .
	// Dockerfile:9:1 COPY --from=build /app /app
	// Dockerfile:10:1 ENTRYPOINT ["/app"]
}

func ExampleParse_mistakes() {
	_, err := dockerfile.Parse("Dockerfile", []byte(`FROM alpine
COPPY . /src
COPY --form=build /a /b
RUN --mount=type=cach,target=/x make
`), dockerfile.Options{})
	fmt.Println(err)
	// Output:
	// Dockerfile:2:1: unknown instruction "COPPY"; did you mean COPY?
	// Dockerfile:3:6: COPY --form=build /a /b: unknown flag of COPY "--form"; did you mean --from?
	// Dockerfile:4:13: RUN --mount=type=cach,target=/x make: unknown type of mount "cach"; did you mean cache?
}

func ExampleFile_Warnings() {
	file, err := dockerfile.Parse("Dockerfile", []byte("FROM alpine as Build\nCMD echo hi\n"), dockerfile.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range file.Warnings() {
		fmt.Println(w)
	}
	// Output:
	// Dockerfile:1:1: StageNameCasing: Stage name 'Build' should be lowercase
	// Dockerfile:1:1: FromAsCasing: 'as' and 'FROM' keywords' casing do not match
	// Dockerfile:2:1: JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
}

func ExampleOnBuild() {
	base := stage.Scratch(stage.As("base")).OnBuild("COPY . /src").OnBuild("ENV READY=yes")
	app := stage.From(base, stage.As("app"))
	graph, err := stage.Compile(context.Background(), []stage.Stage{app}, stage.Options{OnBuild: dockerfile.OnBuild})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range graph.Steps() {
		fmt.Printf("%s: %s\n", step.Stage, step.Text)
	}
	// Output:
	// base: FROM scratch
	// base: ONBUILD COPY . /src
	// base: ONBUILD ENV READY=yes
	// app: COPY . /src
	// app: ENV READY=yes
}

func ExampleContext() {
	// There is no Dockerfile.test.dockerignore here, so the directory's .dockerignore counts.
	context, err := dockerfile.Context("testdata", "testdata/Dockerfile.test")
	fmt.Println(context.Path, context.IgnoreFile == "", err)
	// Output:
	// testdata true <nil>
}

func ExampleFile_CheckArgs() {
	file, err := dockerfile.Parse("Dockerfile", []byte("ARG VERSION=1\nFROM alpine:${VERSION}\n"), dockerfile.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(file.CheckArgs(arg.Values{"VERISON": "2", "HTTP_PROXY": "http://proxy"}))
	// Output:
	// Dockerfile: unknown build argument "VERISON"; did you mean VERSION?
}
