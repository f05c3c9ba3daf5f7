package report_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/report"
)

// step stands for a step of a real build; stagewright.Build with
// Options.Progress: r.Event sends the events.
func step(text string) *stage.Step { return &stage.Step{ID: 2, Stage: "builder", Text: text} }

func finished(s *stage.Step, d time.Duration) stage.StepFinished {
	return stage.StepFinished{Step: s, StepReport: stage.StepReport{
		Step: s.ID, Stage: s.Stage, Text: s.Text, Status: stage.Ran, Duration: d, Files: 2, Bytes: 4_100_000,
	}}
}

// fixed leaves out what differs from run to run.
type fixed struct{}

func (fixed) Write(p []byte) (int, error) {
	if text := string(p); !strings.Contains(text, " in ") && !strings.Contains(text, `"done"`) {
		fmt.Print(text)
	}
	return len(p), nil
}

func ExamplePlain() {
	r := report.Plain(fixed{})
	s := step("RUN go build -o /out/app .")
	r.Event(stage.StepStarted{Step: s})
	r.Event(stage.StepOutput{Step: s, Stream: stage.Stdout, Data: []byte("compiling\nlink")})
	r.Event(stage.StepOutput{Step: s, Stream: stage.Stdout, Data: []byte("ing \x1b[31m")})
	r.Event(finished(s, 1200*time.Millisecond))
	if err := r.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// #2 [builder] RUN go build -o /out/app .
	// #2 | compiling
	// #2 | linking \x1b[31m
	// #2 done 1.2s (2 files, 4.1 MB)
}

func ExampleJSON() {
	r := report.JSON(fixed{})
	s := step("RUN make")
	r.Event(stage.StepOutput{Step: s, Stream: stage.Stderr, Data: []byte("warning: old\n")})
	r.Event(stage.Notice{Text: "done"})
	if err := r.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"event":"output","step":2,"stream":"stderr","text":"warning: old\n"}
}

func ExampleNew() {
	_, err := report.New("fancy", os.Stderr)
	fmt.Println(err)
	var mode *report.ModeError
	fmt.Println(errors.As(err, &mode), report.Modes())
	// Output:
	// report: unknown mode "fancy"; want one of auto, plain, tty, json, quiet
	// true [auto plain tty json quiet]
}

func ExampleTTY() {
	// With os.Stderr this redraws in place when that is a terminal. This writer is
	// none, so lines are written as by Plain.
	r := report.TTY(fixed{})
	r.Event(stage.Notice{Text: "sandbox: namespaces"})
	if err := r.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// note: sandbox: namespaces
}

func ExampleTerminal() {
	size := func() (columns, rows int) { return 40, 10 }
	var out strings.Builder
	r := report.Terminal(&out, size)
	s := step("RUN go build -ldflags=-buildid= -trimpath -o /out/app ./cmd/app")
	r.Event(stage.StepStarted{Step: s})
	r.Event(finished(s, 2*time.Second))
	if err := r.Close(); err != nil {
		fmt.Println(err)
	}
	for line := range strings.Lines(out.String()) {
		if _, text, ok := strings.Cut(line, "2.0s "); ok {
			fmt.Print(text)
		}
	}
	// Output:
	// [builder] RUN… (2 files, 4.1 MB)
}

func ExampleTable() {
	err := report.Table(os.Stdout, stage.Report{
		Duration: 1500 * time.Millisecond,
		Steps: []stage.StepReport{
			{Step: 0, Stage: "builder", Text: "FROM scratch", Status: stage.Hit},
			{Step: 1, Stage: "builder", Text: "COPY . /src", Status: stage.Ran, Duration: 12 * time.Millisecond, Files: 3, Bytes: 1234},
			{Step: 2, Stage: "builder", Text: "RUN go build", Status: stage.Ran, Duration: 1400 * time.Millisecond, Files: 1, Bytes: 4_100_000},
		},
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// STATUS       TIME   FILES     BYTES  STEP
	// run          1.4s       1    4.1 MB  #2 [builder] RUN go build
	// run          12ms       3    1.2 kB  #1 [builder] COPY . /src
	// hit           0ms       0       0 B  #0 [builder] FROM scratch
	// 3 steps in 1.5s: 2 run, 1 cached
}
