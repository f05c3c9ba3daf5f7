package report

import (
	"errors"
	"runtime"
	"strings"
	"time"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// fakeClock is a time that only moves when it is told to.
type fakeClock struct{ t time.Time }

func (c *fakeClock) now() time.Time          { return c.t }
func (c *fakeClock) advance(d time.Duration) { c.t = c.t.Add(d) }

func newClock() *fakeClock { return &fakeClock{time.Unix(1_000_000, 0).UTC()} }

// home is this machine's platform for images, other is not, anywhere.
var (
	home  = platform.Platform{OS: "linux", Architecture: runtime.GOARCH}
	other = platform.Platform{OS: "linux", Architecture: "s390x"}
)

func newStep(id int, name, text string, op stage.Op) *stage.Step {
	return &stage.Step{ID: id, Stage: name, Platform: home, Text: text, Op: op}
}

func finished(s *stage.Step, status stage.Status, d time.Duration, files int, bytes int64, err error) stage.StepFinished {
	return stage.StepFinished{Step: s, Err: err, StepReport: stage.StepReport{
		Step: s.ID, Stage: s.Stage, Platform: s.Platform.String(), Text: s.Text, Status: status, Duration: d, Files: files, Bytes: bytes,
	}}
}

// build is the story of a build, told to a renderer.
func build(r *Renderer, clock *fakeClock) {
	scratch := newStep(0, "builder", "FROM scratch", &stage.BaseOp{})
	copied := newStep(1, "builder", "COPY . /src", &stage.CopyOp{})
	run := newStep(2, "builder", "RUN go build -o /out/app .", &stage.RunOp{})
	base := newStep(4, "app", "FROM alpine", &stage.BaseOp{Ref: "alpine"})
	test := newStep(5, "test", "RUN go test", &stage.RunOp{})
	test.Platform = other
	after := newStep(6, "app", "RUN true", &stage.RunOp{})
	events := []stage.Event{
		stage.Notice{Text: "sandbox: namespaces, as root"},
		finished(scratch, stage.Hit, 0, 0, 0, nil),
		stage.StepStarted{Step: copied, Time: clock.t},
		finished(copied, stage.Ran, 2*time.Millisecond, 3, 1234, nil),
		stage.StepStarted{Step: run, Time: clock.t},
		stage.StepOutput{Step: run, Stream: stage.Stdout, Data: []byte("compi")},
		stage.StepStarted{Step: base, Time: clock.t},
		stage.StepProgress{Step: base, What: "layer 1", Done: 500_000, Total: 3_000_000},
		stage.StepOutput{Step: run, Stream: stage.Stderr, Data: []byte("warning: café")},
		stage.StepOutput{Step: run, Stream: stage.Stdout, Data: []byte("ling\n50%\r100%\r\n\ndone")},
		stage.StepStarted{Step: test, Time: clock.t},
		finished(run, stage.Ran, 1250*time.Millisecond, 1, 4_100_000, nil),
		finished(base, stage.Ran, 3*time.Second, 500, 7_800_000, nil),
		stage.StepOutput{Step: test, Stream: stage.Stdout, Data: []byte("FAIL\n")},
		stage.StepStarted{Step: after, Time: clock.t},
		finished(test, stage.Failed, 70*time.Second, 0, 0, test.Fail(&stage.ExitError{
			Argv: []string{"go", "test"}, Code: 1, Tail: "FAIL\n", Log: "/cache/logs/x.log",
		}, "")),
		finished(after, stage.Canceled, 4*time.Millisecond, 0, 0, errors.New("canceled")),
	}
	for _, e := range events {
		clock.advance(time.Second)
		r.Event(e)
	}
}

// fakeTerminal keeps what a terminal would show. It knows the sequences that the
// renderer uses and records any other.
type fakeTerminal struct {
	columns, rows int
	lines         [][]rune
	row, col      int
	nowrap        bool
	unknown       []string
}

func (t *fakeTerminal) size() (int, int) { return t.columns, t.rows }

func (t *fakeTerminal) Write(p []byte) (int, error) {
	text := []rune(string(p))
	for i := 0; i < len(text); i++ {
		switch r := text[i]; {
		case r == '\x1b':
			end := i + 1
			for end < len(text) && (text[end] == '[' || text[end] == '?' || text[end] == ';' || text[end] >= '0' && text[end] <= '9') {
				end++
			}
			t.control(string(text[i+1 : end+1]))
			i = end
		case r == '\n':
			t.row, t.col = t.row+1, 0
		case r == '\r':
			t.col = 0
		default:
			t.put(r)
		}
	}
	return len(p), nil
}

func (t *fakeTerminal) put(r rune) {
	if t.col+runeWidth(r) > t.columns {
		if t.nowrap {
			return
		}
		t.row, t.col = t.row+1, 0
	}
	for len(t.lines) <= t.row {
		t.lines = append(t.lines, nil)
	}
	line := t.lines[t.row]
	for len(line) < t.col {
		line = append(line, ' ')
	}
	t.lines[t.row] = append(line[:t.col], r)
	t.col += runeWidth(r)
}

func (t *fakeTerminal) control(seq string) {
	switch {
	case seq == "[J":
		t.lines = t.lines[:min(t.row, len(t.lines))]
	case strings.HasSuffix(seq, "A"):
		n := 0
		for _, c := range seq[1 : len(seq)-1] {
			n = n*10 + int(c-'0')
		}
		t.row = max(t.row-n, 0)
	case seq == "[?7l" || seq == "[?7h":
		t.nowrap = seq == "[?7l"
	case strings.HasSuffix(seq, "m"):
	default:
		t.unknown = append(t.unknown, seq)
	}
}

// String is what is on the terminal, with scrolled-off lines.
func (t *fakeTerminal) String() string {
	var b strings.Builder
	for _, line := range t.lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return b.String()
}
