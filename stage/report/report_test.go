package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestPlainGolden(t *testing.T) {
	var out bytes.Buffer
	r, clock := Plain(&out), newClock()
	r.now = clock.now
	build(r, clock)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	golden(t, "plain.txt", out.String())
}

func TestJSONGolden(t *testing.T) {
	var out bytes.Buffer
	r, clock := JSON(&out), newClock()
	r.now = clock.now
	build(r, clock)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(out.String(), home.String(), "linux/HOME")
	golden(t, "events.jsonl", got)
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// The picture after each event, on terminals of several sizes.
func TestTerminalGolden(t *testing.T) {
	for _, test := range []struct {
		name          string
		columns, rows int
	}{{"wide", 100, 24}, {"narrow", 30, 24}, {"low", 60, 4}} {
		t.Run(test.name, func(t *testing.T) {
			term := &fakeTerminal{columns: test.columns, rows: test.rows}
			clock := newClock()
			var story strings.Builder
			r := Terminal(term, term.size)
			r.now, r.tick = clock.now, 0
			r.view = &watched{r.view.(*screen), term, &story}
			build(r, clock)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			story.WriteString("--- closed\n" + term.String())
			golden(t, "tty-"+test.name+".txt", story.String())
			if len(term.unknown) > 0 {
				t.Errorf("unknown control sequences %q", term.unknown)
			}
		})
	}
}

// watched records the terminal after each event.
type watched struct {
	*screen
	term  *fakeTerminal
	story *strings.Builder
}

func (w *watched) event(e stage.Event, now time.Time) {
	w.screen.event(e, now)
	w.story.WriteString("---\n" + w.term.String())
	if w.term.columns < 40 {
		return
	}
	if rows := len(w.screen.drawn); rows > max(w.term.rows-1, 2) {
		w.story.WriteString("the picture is higher than the terminal\n")
	}
}

// A terminal that becomes narrower wraps what was drawn; the next picture still
// replaces all of it.
func TestTerminalResized(t *testing.T) {
	lines := []string{strings.Repeat("a", 50), "b", strings.Repeat("世", 10)}
	for _, test := range []struct{ width, want int }{{100, 3}, {50, 3}, {49, 4}, {20, 5}, {10, 8}} {
		if got := occupied(lines, test.width); got != test.want {
			t.Errorf("width %d: %d rows, want %d", test.width, got, test.want)
		}
	}
}

const hostile = "a\x1b[2J\x1b]0;title\x07b\u009b31m\u202egnp.exe\u2066\x9b\xff\x00\x7f\u2028c\td é 世 \u200d"

func TestHostile(t *testing.T) {
	step := newStep(1, hostile, "RUN "+hostile+"\nmore\r", &stage.RunOp{})
	events := []stage.Event{
		stage.Notice{Text: hostile + "\n#9 [x] forged"},
		stage.StepStarted{Step: step},
		stage.StepProgress{Step: step, What: hostile, Done: 1},
		stage.StepOutput{Step: step, Stream: stage.Stdout, Data: []byte(hostile + "\n\v\f\b" + hostile)},
		finished(step, stage.Failed, 0, 0, 0, step.Fail(errors.New(hostile+"\nforged"), hostile)),
	}
	for _, mode := range []string{"plain", "json", "tty"} {
		var out bytes.Buffer
		r, err := New(mode, &out)
		if err != nil {
			t.Fatal(err)
		}
		if mode == "tty" {
			r = Terminal(&out, func() (int, int) { return 500, 50 })
			r.tick = 0
		}
		clock := newClock()
		r.now = clock.now
		for _, e := range events {
			clock.advance(time.Second)
			r.Event(e)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if mode == "tty" {
			for _, own := range []string{"\x1b[1;31m", "\x1b[0m", "\x1b[?7l", "\x1b[?7h", "\r\x1b[J", "\x1b[1A", "\x1b[2A", "\x1b[3A"} {
				text = strings.ReplaceAll(text, own, "")
			}
		}
		if !utf8.ValidString(text) {
			t.Errorf("%s: invalid UTF-8", mode)
		}
		for _, c := range text {
			if c != '\n' && !shown(c) {
				t.Errorf("%s: %U reaches the writer in %q", mode, c, text)
			}
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "#9") || strings.HasPrefix(line, "forged") {
				t.Errorf("%s: forged line %q", mode, line)
			}
		}
		if !strings.Contains(text, "\td é 世 \u200d") && mode != "json" && mode != "tty" {
			t.Errorf("%s: plain text was changed: %q", mode, text)
		}
	}
}

// Output survives whatever the pieces are in which it comes.
func TestJSONPieces(t *testing.T) {
	want := "é世\U0001f600 \xff\xc3 end\xe4\xb8"
	for size := 1; size <= len(want); size++ {
		var out bytes.Buffer
		r := JSON(&out)
		step := newStep(1, "s", "RUN x", &stage.RunOp{})
		for data := []byte(want); len(data) > 0; {
			n := min(size, len(data))
			r.Event(stage.StepOutput{Step: step, Stream: stage.Stdout, Data: data[:n]})
			data = data[n:]
		}
		r.Event(finished(step, stage.Ran, 0, 0, 0, nil))
		var got []byte
		for line := range bytes.Lines(out.Bytes()) {
			var o struct {
				Event, Text string
				Base64      []byte
			}
			if err := json.Unmarshal(line, &o); err != nil {
				t.Fatal(err)
			}
			if o.Event == "output" {
				got = append(append(got, o.Text...), o.Base64...)
			}
		}
		if string(got) != want {
			t.Errorf("pieces of %d: %q, want %q", size, got, want)
		}
	}
}

func TestLines(t *testing.T) {
	text := "one\r\ntwo\rthree\n\n\r\r\nlast" + strings.Repeat("x", 3*maxLine)
	var want []string
	for size := range 7 {
		var got []string
		keep := func(line []byte) { got = append(got, string(line)) }
		var l lines
		for data := []byte(text); len(data) > 0; {
			n := min(size+1, len(data))
			l.add(data[:n], keep)
			data = data[n:]
		}
		l.flush(keep)
		if size == 0 {
			want = got
			if strings.Join(got[:6], "|") != "one|two|three|||" {
				t.Fatalf("got %q", got[:6])
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pieces of %d:\n%s", size+1, diff)
		}
		for _, line := range got {
			if len(line) > maxLine {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
		if n := len(strings.Join(got, "")); n != len("onetwothreelast")+3*maxLine {
			t.Errorf("%d bytes of text came out", n)
		}
	}
}

func TestNew(t *testing.T) {
	for _, mode := range append(Modes(), "") {
		var out bytes.Buffer
		r, err := New(mode, &out)
		if err != nil {
			t.Fatal(err)
		}
		r.Event(stage.Notice{Text: "hello"})
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if mode == "quiet" != (out.Len() == 0) {
			t.Errorf("mode %q wrote %q", mode, out.String())
		}
	}
	_, err := New("colour", nil)
	var unknown *ModeError
	if !errors.As(err, &unknown) || unknown.Mode != "colour" {
		t.Fatal(err)
	}
	const want = `report: unknown mode "colour"; want one of auto, plain, tty, json, quiet`
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

// A file that is no terminal gets lines.
func TestNoTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := TTY(f).view.(*plain); !ok {
		t.Error("a file was taken for a terminal")
	}
}

type failingWriter struct{ calls int }

var errFull = errors.New("no space")

func (w *failingWriter) Write([]byte) (int, error) { w.calls++; return 0, errFull }

func TestWriteError(t *testing.T) {
	w := &failingWriter{}
	r := Plain(w)
	r.Event(stage.Notice{Text: "one"})
	r.Event(stage.Notice{Text: "two"})
	if err := r.Close(); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	r.Event(stage.Notice{Text: "late"})
	if w.calls != 1 {
		t.Errorf("%d writes after a failed one", w.calls-1)
	}
	if err := Table(w, stage.Report{}); !errors.Is(err, errFull) {
		t.Errorf("Table: %v", err)
	}
}

// Events from several goroutines and the ticker do not disturb each other; under
// the race detector this is the proof.
func TestConcurrent(t *testing.T) {
	term := &fakeTerminal{columns: 80, rows: 24}
	r := Terminal(term, func() (int, int) { return 80, 24 })
	r.tick = time.Microsecond
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				s := newStep(g*100+i, "s", "RUN x", &stage.RunOp{})
				r.Event(stage.StepStarted{Step: s})
				r.Event(stage.StepOutput{Step: s, Data: []byte("line\n")})
				r.Event(finished(s, stage.Ran, 0, 0, 0, nil))
			}
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(term.String(), "[s] RUN x"); n != 200 || r.totals.ran != 200 {
		t.Errorf("%d lines and %d steps, want 200", n, r.totals.ran)
	}
}

func TestFormats(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0s", 0: "0ms", 999 * time.Millisecond: "999ms", time.Second: "1.0s", 59_990 * time.Millisecond: "59.9s",
		time.Minute: "1m00s", 3599 * time.Second: "59m59s", 90 * time.Minute: "1h30m",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 1<<63 - 1: "9.2 EB",
	} {
		if got := formatBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for _, test := range []struct {
		line, want string
		width      int
	}{{"abc", "abc", 3}, {"abcd", "ab…", 3}, {"世界世", "世…", 4}, {"世界", "世界", 4}, {"é́x", "é́x", 2}, {"ab", "…", 1}, {"a\tb", "a b", 3}} {
		if got := fit(test.line, test.width); got != test.want {
			t.Errorf("fit(%q, %d) = %q, want %q", test.line, test.width, got, test.want)
		}
	}
}

func BenchmarkPlainOutput(b *testing.B) {
	r := Plain(discard{})
	step := newStep(1, "s", "RUN x", &stage.RunOp{})
	data := bytes.Repeat([]byte("a line of output of usual length, neither short nor long\n"), 500)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r.Event(stage.StepOutput{Step: step, Stream: stage.Stdout, Data: data})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// TestSinks shows what sinks do in every view.
func TestSinks(t *testing.T) {
	events := []stage.Event{
		stage.SinkStarted{Index: 0, Name: "registry r/app:1"},
		stage.SinkStarted{Index: 1, Name: "OCI layout out"},
		stage.SinkProgress{Index: 0, Name: "registry r/app:1", Transfer: image.Transfer{What: "sha256:1", Done: 1000, Total: 5000}},
		stage.SinkFinished{Index: 1, Delivery: image.Delivery{Sink: "OCI layout out", How: "written"}, Err: errors.New("disk\nfull")},
		stage.SinkFinished{Index: 0, Delivery: image.Delivery{Sink: "registry r/app:1", How: "pushed", Blobs: 1, Bytes: 5000, Skipped: 2}, Duration: time.Second},
	}
	show := func(make func(io.Writer) *Renderer) string {
		var out strings.Builder
		r := make(&out)
		r.now = newClock().now
		for _, e := range events {
			r.Event(e)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	plain := show(Plain)
	for _, want := range []string{
		"to OCI layout out: FAILED 0ms: disk\\nfull\n",
		"to registry r/app:1: pushed in 1.0s (1 blob, 5.0 kB; 2 there already)\n",
	} {
		if !strings.Contains(plain, want) {
			t.Errorf("plain lacks %q:\n%s", want, plain)
		}
	}
	lines := show(JSON)
	for _, want := range []string{
		`{"event":"sink","index":1,"name":"OCI layout out",`,
		`{"event":"transfer","index":0,"name":"registry r/app:1","what":"sha256:1","done":1000,"total":5000}`,
		`{"event":"delivery","index":1,"sink":"OCI layout out","how":"written","duration":0,"error":"disk\nfull"}`,
		`{"event":"delivery","index":0,"sink":"registry r/app:1","how":"pushed","blobs":1,"bytes":5000,"skipped":2,"duration":1000000000}`,
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("json lacks %s:\n%s", want, lines)
		}
	}
	term := &fakeTerminal{columns: 80, rows: 24}
	clock := newClock()
	r := Terminal(term, term.size)
	r.tick, r.now = 0, clock.now
	seen := ""
	for _, e := range events {
		clock.advance(time.Second)
		r.Event(e)
		seen += term.String()
	}
	r.Close()
	if !strings.Contains(seen, "to registry r/app:1 sha256:1 1.0 kB of 5.0 kB") || !strings.Contains(term.String(), "pushed in 1.0s") || len(term.unknown) > 0 {
		t.Errorf("terminal:\n%s\nat the end\n%s\n%v", seen, term, term.unknown)
	}
}
