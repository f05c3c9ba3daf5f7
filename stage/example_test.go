package stage_test

import (
	"context"
	"fmt"
	"log"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// show prints the steps of a stage.
func show(target stage.Stage, o stage.Options) {
	g, err := stage.Compile(context.Background(), []stage.Stage{target}, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range g.Steps() {
		fmt.Printf("%s: %s\n", s.Stage, s.Text)
	}
}

func ExampleFrom() {
	version := arg.New("GO_VERSION", arg.Default("1.26"))
	builder := stage.From("golang:${GO_VERSION}", stage.As("builder"), stage.FromArgs(version))
	show(stage.From(builder, stage.As("tests")).Run("go test ./..."), stage.Options{})
	// Output:
	// builder: FROM golang:1.26
	// tests: RUN /bin/sh -c go test ./...
}

func ExampleCompile() {
	builder := stage.From("golang:1.26", stage.As("builder")).
		Workdir("/src").
		Copy(".", ".").
		Run("go build -o /out/app .")
	app := stage.Scratch(stage.As("app")).
		CopyFrom(builder, "/out/app", "/app").
		Cmd("/app")
	g, err := stage.Compile(context.Background(), []stage.Stage{app}, stage.Options{
		Platforms: platform.MustParseSet("linux/amd64"),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range g.Steps() {
		fmt.Println(s.ID, s.Stage, s.Text, s.Inputs)
	}
	// Output:
	// 0 app FROM scratch []
	// 1 builder FROM golang:1.26 []
	// 2 builder WORKDIR /src []
	// 3 builder COPY . . []
	// 4 builder RUN /bin/sh -c go build -o /out/app . []
	// 5 app COPY --from=builder /out/app /app [4]
	// 6 app CMD ["/app"] []
}

func ExampleErrors() {
	app := stage.Scratch(stage.As("app")).
		Copy("../secrets", "/secrets").
		StopSignal("SIGTREM")
	_, err := stage.Compile(context.Background(), []stage.Stage{app}, stage.Options{})
	for _, mistake := range err.(stage.Errors) {
		fmt.Println(mistake.Err)
	}
	// Output:
	// path "../secrets" leaves the build context; use CopyFrom with stage.Dir for files outside of it
	// unknown signal "SIGTREM"; want a name as in SIGTERM, or a number
}

func ExampleStage_Copy() {
	show(stage.Scratch(stage.As("app")).
		Workdir("/app").
		Copy(stage.Files("package.json", "package-lock.json"), "./").
		Copy("src", "src/", stage.Chown("1000:1000")), stage.Options{})
	// Output:
	// app: FROM scratch
	// app: WORKDIR /app
	// app: COPY package.json package-lock.json ./
	// app: COPY --chown=1000:1000 src src/
}

func ExampleStage_Run() {
	show(stage.From("alpine", stage.As("app")).
		Arg(arg.New("PACKAGES", arg.Default("curl"))).
		Run("apk add $PACKAGES", stage.CacheMount("/var/cache/apk")), stage.Options{})
	// Output:
	// app: FROM alpine
	// app: ARG PACKAGES=curl
	// app: RUN |1 PACKAGES=curl /bin/sh -c apk add $PACKAGES
}

func ExampleStage_With() {
	certificates := func(s stage.Stage) stage.Stage {
		return s.CopyFrom(stage.Image("alpine:3"), "/etc/ssl/cert.pem", "/etc/ssl/cert.pem")
	}
	show(stage.Scratch(stage.As("app")).With(certificates).Cmd("/app"), stage.Options{})
	// Output:
	// app: FROM scratch
	// app: FROM alpine:3
	// app: COPY --from=alpine:3 /etc/ssl/cert.pem /etc/ssl/cert.pem
	// app: CMD ["/app"]
}

func ExampleForPlatform() {
	base := stage.ForPlatform(func(p platform.Platform) stage.Stage {
		if p.Architecture == "arm64" {
			return stage.From("arm-tuned", stage.As("arm"))
		}
		return stage.From("generic", stage.As("other"))
	})
	show(stage.From(base, stage.As("app")).Run("true"), stage.Options{
		Platforms: platform.MustParseSet("linux/amd64,linux/arm64"),
	})
	// Output:
	// other: FROM generic
	// app: RUN /bin/sh -c true
	// arm: FROM arm-tuned
	// app: RUN /bin/sh -c true
}

func ExampleNamed() {
	builder := stage.Scratch(stage.As("builder")).File("/out/app", "the program")
	app := stage.Scratch(stage.As("app")).CopyFrom(stage.Named("builder"), "/out/app", "/app")
	show(app, stage.Options{Stages: []stage.Stage{builder}})
	// Output:
	// app: FROM scratch
	// builder: FROM scratch
	// builder: FILE /out/app
	// app: COPY --from=builder /out/app /app
}
