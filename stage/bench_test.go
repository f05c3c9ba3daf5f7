package stage_test

import (
	"fmt"
	"testing"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// tenSteps adds ten operations of the usual mix, three with variables.
func tenSteps(s stage.Stage, i int) stage.Stage {
	n := i % 20
	return s.
		Env(fmt.Sprintf("NAME_%d", n), "v${VERSION}").
		Label("number", "n$NUMBER").
		Workdir("/src").
		Copy("go.mod", "./").
		Run("go build").
		Env("STEP", fmt.Sprint(i)).
		File("/etc/x", "x").
		Mkdir(fmt.Sprintf("/var/${NAME_%d}", n)).
		Run("go test").
		Symlink("/a", "/b")
}

func begin(name string) stage.Stage {
	return stage.Scratch(stage.As(name)).
		Arg(arg.New("VERSION", arg.Default("1")), arg.New("NUMBER", arg.Int(), arg.Default("7")))
}

// long is one stage of about the given number of steps.
func long(steps int) stage.Stage {
	s := begin("long")
	for i := range steps / 10 {
		s = tenSteps(s, i)
	}
	return s
}

// wide is stages of ten steps each; every one copies from the one before.
func wide(steps int) stage.Stage {
	s := tenSteps(begin("s0"), 0)
	for i := range steps/10 - 1 {
		s = tenSteps(begin(fmt.Sprintf("s%d", i+1)), i).CopyFrom(s, "/etc/x", "/x")
	}
	return s
}

// deep is stages of ten steps each; every one is built from the one before.
func deep(steps int) stage.Stage {
	s := begin("d0")
	for i := range steps / 10 {
		s = tenSteps(stage.From(s, stage.As(fmt.Sprintf("d%d", i+1))), i)
	}
	return s
}

// environment is one stage where every other step defines a variable of its own.
func environment(steps int) stage.Stage {
	s := begin("env").Env("A", "$VERSION$NUMBER")
	for i := range steps / 2 {
		s = s.Env(fmt.Sprintf("NAME_%d", i), "x").Workdir("/src/$A")
	}
	return s
}

func BenchmarkCompile(b *testing.B) {
	for _, shape := range []struct {
		name string
		make func(int) stage.Stage
	}{{"long", long}, {"wide", wide}, {"deep", deep}, {"env", environment}} {
		for _, steps := range []int{1000, 10_000, 100_000} {
			target := []stage.Stage{shape.make(steps)}
			b.Run(fmt.Sprintf("%s/%d", shape.name, steps), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := stage.Compile(b.Context(), target, fixed(stage.Options{})); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
