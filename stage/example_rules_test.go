package stage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

func ExampleCompatible() {
	// The same texts, with the rules of this package and with those of a Dockerfile.
	strict := stage.Scratch(stage.As("app")).Env("GREETING", `"hello"`)
	docker := stage.Scratch(stage.As("app"), stage.Compatible(stage.DockerRules{})).
		Arg(arg.New("UNUSED")).
		Env("GREETING", `"hello"`, "EMPTY", "$NOBODY")
	show(strict, stage.Options{})
	show(docker, stage.Options{})
	// Output:
	// app: FROM scratch
	// app: ENV GREETING="hello"
	// app: FROM scratch
	// app: ARG UNUSED
	// app: ENV GREETING=hello EMPTY=
}

func ExampleStage_At() {
	s := stage.Scratch(stage.As("app"), stage.WrittenAt(stage.Position{File: "app.yaml", Line: 1})).
		At(stage.Position{File: "app.yaml", Line: 7, Column: 3}).
		StopSignal("SIGTREM")
	_, err := stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{})
	fmt.Println(err)
	// Output:
	// app.yaml:7:3: stage app: STOPSIGNAL: unknown signal "SIGTREM"; want a name as in SIGTERM, or a number
}

func ExampleOnPlatformText() {
	arch := arg.New("BUILDER_ARCH", arg.Default("arm64"))
	s := stage.From("golang:1.26", stage.As("builder"), stage.FromArgs(arch), stage.OnPlatformText("linux/${BUILDER_ARCH}"))
	g, err := stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Steps()[0].Platform)
	// Output:
	// linux/arm64
}

func ExampleIgnoreOnBuild() {
	parent := stage.From("alpine:3.22", stage.As("parent")).OnBuild("COPY . /src")
	show(stage.From(parent, stage.As("child"), stage.IgnoreOnBuild()).Run("make"), stage.Options{})
	_, err := stage.Compile(context.Background(), []stage.Stage{stage.From(parent, stage.As("child"))}, stage.Options{})
	fmt.Println(strings.Contains(err.Error(), "the base has ONBUILD triggers: COPY . /src"))
	// Output:
	// parent: FROM alpine:3.22
	// parent: ONBUILD COPY . /src
	// child: RUN /bin/sh -c make
	// true
}

func ExampleStage_UnsetEnv() {
	base := stage.From(stage.Scratch(stage.As("base")).
		Env("DEBUG", "1", "LEVEL", "3").Expose(80).Label("a", "b").Volume("/data"))
	g, err := stage.Compile(context.Background(), []stage.Stage{
		base.UnsetEnv("DEBUG", "PATH").Unexpose("80").UnsetLabel("a").RemoveVolume("/data"),
	}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	steps := g.Steps()
	cfg := steps[len(steps)-1].Config
	fmt.Println(cfg.Env, len(cfg.ExposedPorts), len(cfg.Labels), len(cfg.Volumes))
	// Output:
	// [LEVEL=3] 0 0 0
}

func ExampleStage_Parts() {
	s := stage.From("golang:${V}", stage.As("builder"), stage.FromArgs(arg.New("V"))).
		Env("CGO_ENABLED", "0").
		Run("go build .", stage.CacheMount("/root/.cache"))
	parts := s.Parts()
	fmt.Println(parts.Name, parts.Ref)
	for _, op := range parts.Ops {
		switch op := op.Op.(type) {
		case *stage.ConfigOp:
			fmt.Println(op.Instruction, op.Words)
		case *stage.RunOp:
			fmt.Println(op.Command, len(op.Mounts))
		}
	}
	// Output:
	// builder golang:${V}
	// ENV [CGO_ENABLED 0]
	// go build . 1
}

func ExampleStage_RunDefaults() {
	s := stage.From("alpine:3.22", stage.As("app")).
		RunDefaults(
			stage.CacheMount("/var/cache/apk", stage.SeedFrom(stage.Image("alpine:3.22"), "/var/cache/apk"), stage.ReadOnly()),
			stage.Timeout(time.Minute),
			stage.WithLimits(stage.Limits{Memory: 512 << 20}),
			stage.ExtraHost("mirror.test", "10.0.0.7"),
		).
		Run("apk update", stage.Retry(2)).
		Run("apk add git", stage.AllowExit(1), stage.SSHMount(""), stage.Capture()).
		Script("#!/bin/sh\ncat", stage.Stdin("text"), stage.ScriptPath("/run/script"))
	g, err := stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range g.Steps() {
		if run, ok := step.Op.(*stage.RunOp); ok {
			fmt.Println(len(run.Mounts), run.Timeout, run.Limits.Memory, run.Hosts, run.Retry, run.Allow, run.Capture)
		}
	}
	// Output:
	// 1 1m0s 536870912 [{mirror.test 10.0.0.7}] 2 [] false
	// 2 1m0s 536870912 [{mirror.test 10.0.0.7}] 0 [1] true
	// 1 1m0s 536870912 [{mirror.test 10.0.0.7}] 0 [] false
}

// silent is a result of an executor that keeps no output of Run steps.
type silent struct{ stage.Result }

func ExampleOutputOf() {
	_, err := stage.OutputOf(silent{}, 0)
	fmt.Println(errors.Is(err, stage.ErrUnsupported))
	// Output: true
}

func ExampleAmong() {
	debug := stage.Scratch(stage.As("debug")).Env("MODE", "debug")
	release := stage.Scratch(stage.As("release")).Env("MODE", "release")
	app := stage.From("${MODE}", stage.As("app"), stage.FromArgs(arg.New("MODE", arg.Default("release"))),
		stage.Among(map[string]stage.Stage{"debug": debug, "release": release})).
		Cmd("/app")
	show(app, stage.Options{})
	show(app, stage.Options{Args: arg.Values{"MODE": "debug"}})
	// Output:
	// release: FROM scratch
	// release: ENV MODE=release
	// app: CMD ["/app"]
	// debug: FROM scratch
	// debug: ENV MODE=debug
	// app: CMD ["/app"]
}

func ExampleMountSetting() {
	s := stage.From("alpine:3.22", stage.Compatible(stage.DockerRules{})).
		Arg(arg.New("UID", arg.Default("1000"))).
		Run("make", stage.CacheMount("/cache", stage.MountSetting("uid", "${UID}"), stage.MountSetting("mode", "700")))
	g, err := stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := g.Steps()[2].Op.(*stage.RunOp).Mounts[0]
	fmt.Printf("%s %o\n", m.Owner, m.Mode)
	// Output:
	// 1000:0 700
}

func ExamplePredefinedArg() {
	fmt.Println(stage.PredefinedArg("HTTPS_PROXY"), stage.PredefinedArg("TARGETARCH"), stage.PredefinedArg("VERSION"))
	// Output:
	// true true false
}
