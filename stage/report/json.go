package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
)

// JSON returns a renderer for programs: one JSON object a line. Field names are
// stable; fields and kinds of objects may be added. The field "event" is the kind:
//
//	start     step, stage, platform, text, kind (see stage.Step.Kind), pos ("file.go:12"), time (RFC 3339)
//	output    step, stream ("stdout", "stderr"), text; or base64 for a piece that is not UTF-8
//	progress  step, what, done, total (bytes; no total when it is unknown)
//	finish    the fields of stage.StepReport: step, stage, platform, text, status ("run", "hit", "failed",
//	          "canceled"), duration (nanoseconds), files, bytes; with an error also error, exit_code, signal, log
//	notice    text
//	sink      index, name, time: a sink begins
//	transfer  index, name, what, done, total (bytes; no total when it is unknown)
//	delivery  index and the fields of image.Delivery: sink, how, refs, blobs, bytes, skipped; duration (nanoseconds); with an error error
//	done      steps, run, hit, failed, canceled, duration; the last line, written by Close
//
// The pieces of output of one step and stream are the whole of what it wrote when
// they are put together. A step that was found in the cache may have no start.
func JSON(w io.Writer) *Renderer {
	return newRenderer(w, func(out io.Writer) view {
		return &jsonView{out: out, rest: map[streamKey][]byte{}}
	})
}

type jsonView struct {
	out  io.Writer
	rest map[streamKey][]byte // the beginning of a character whose end has not come yet
}

type streamKey struct {
	step   *stage.Step
	stream stage.Stream
}

type jsonStart struct {
	Event    string    `json:"event"`
	Step     int       `json:"step"`
	Stage    string    `json:"stage"`
	Platform string    `json:"platform"`
	Text     string    `json:"text"`
	Kind     string    `json:"kind,omitempty"`
	Pos      string    `json:"pos,omitempty"`
	Time     time.Time `json:"time"`
}

type jsonOutput struct {
	Event  string       `json:"event"`
	Step   int          `json:"step"`
	Stream stage.Stream `json:"stream"`
	Text   string       `json:"text,omitempty"`
	Base64 []byte       `json:"base64,omitempty"`
}

type jsonProgress struct {
	Event string `json:"event"`
	Step  int    `json:"step"`
	What  string `json:"what"`
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"`
}

type jsonFinish struct {
	Event string `json:"event"`
	stage.StepReport
	Error    string `json:"error,omitempty"`
	ExitCode int    `json:"exit_code,omitempty"`
	Signal   string `json:"signal,omitempty"`
	Log      string `json:"log,omitempty"`
}

type jsonNotice struct {
	Event string `json:"event"`
	Text  string `json:"text"`
}

type jsonSink struct {
	Event string    `json:"event"`
	Index int       `json:"index"`
	Name  string    `json:"name"`
	Time  time.Time `json:"time"`
}

type jsonTransfer struct {
	Event string `json:"event"`
	Index int    `json:"index"`
	Name  string `json:"name"`
	What  string `json:"what"`
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"`
}

type jsonDelivery struct {
	Event string `json:"event"`
	Index int    `json:"index"`
	image.Delivery
	Duration time.Duration `json:"duration"`
	Error    string        `json:"error,omitempty"`
}

type jsonDone struct {
	Event    string        `json:"event"`
	Steps    int           `json:"steps"`
	Run      int           `json:"run"`
	Hit      int           `json:"hit"`
	Failed   int           `json:"failed"`
	Canceled int           `json:"canceled"`
	Duration time.Duration `json:"duration"`
}

func (j *jsonView) event(e stage.Event, _ time.Time) {
	switch e := e.(type) {
	case stage.StepStarted:
		j.write(jsonStart{"start", e.Step.ID, e.Step.Stage, e.Step.Platform.String(), e.Step.Text, kind(e.Step), position(e.Step), e.Time})
	case stage.StepOutput:
		j.output(e)
	case stage.StepProgress:
		j.write(jsonProgress{"progress", e.Step.ID, e.What, e.Done, e.Total})
	case stage.StepFinished:
		j.flush(e.Step, stage.Stdout)
		j.flush(e.Step, stage.Stderr)
		f := jsonFinish{Event: "finish", StepReport: e.StepReport}
		if e.Err != nil {
			f.Error = e.Err.Error()
		}
		if exit, ok := errors.AsType[*stage.ExitError](e.Err); ok {
			f.ExitCode, f.Signal, f.Log = exit.Code, exit.Signal, exit.Log
		}
		j.write(f)
	case stage.Notice:
		j.write(jsonNotice{"notice", e.Text})
	case stage.SinkStarted:
		j.write(jsonSink{"sink", e.Index, e.Name, e.Time})
	case stage.SinkProgress:
		j.write(jsonTransfer{"transfer", e.Index, e.Name, e.What, e.Done, e.Total})
	case stage.SinkFinished:
		d := jsonDelivery{Event: "delivery", Index: e.Index, Delivery: e.Delivery, Duration: e.Duration}
		if e.Err != nil {
			d.Error = e.Err.Error()
		}
		j.write(d)
	}
}

func kind(s *stage.Step) string {
	if s.Op == nil {
		return ""
	}
	return s.Kind()
}

func position(s *stage.Step) string {
	if p := s.Pos(); p != (stage.Position{}) {
		return p.String()
	}
	return ""
}

// output writes a piece of output. A character that is cut in two waits for its
// other part, so that text stays text.
func (j *jsonView) output(e stage.StepOutput) {
	key := streamKey{e.Step, e.Stream}
	data := append(j.rest[key], e.Data...)
	whole := len(data) - cut(data)
	if rest := data[whole:]; len(rest) > 0 {
		j.rest[key] = bytes.Clone(rest)
	} else {
		delete(j.rest, key)
	}
	j.piece(key, data[:whole])
}

// cut is how many bytes at the end begin a character without ending it.
func cut(data []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		if last := data[len(data)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}

func (j *jsonView) flush(step *stage.Step, stream stage.Stream) {
	key := streamKey{step, stream}
	j.piece(key, j.rest[key])
	delete(j.rest, key)
}

func (j *jsonView) piece(key streamKey, data []byte) {
	switch {
	case len(data) == 0:
	case utf8.Valid(data):
		j.write(jsonOutput{Event: "output", Step: key.step.ID, Stream: key.stream, Text: string(data)})
	default:
		j.write(jsonOutput{Event: "output", Step: key.step.ID, Stream: key.stream, Base64: data})
	}
}

func (j *jsonView) close(t totals) {
	j.write(jsonDone{"done", t.steps(), t.ran, t.hit, t.failed, t.canceled, t.duration})
}

func (j *jsonView) write(v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return // plain structs with nothing in them that JSON cannot hold
	}
	_, _ = j.out.Write(escapeJSON(buf.Bytes())) // the writer keeps its error
}

// escapeJSON escapes the characters that JSON allows and a terminal must not get.
// They can only stand in strings.
func escapeJSON(line []byte) []byte {
	const hex = "0123456789abcdef"
	var out []byte
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRune(line[i:])
		if r == '\n' || shown(r) {
			out = append(out, line[i:i+n]...)
		} else {
			for _, u := range utf16.Encode([]rune{r}) {
				out = append(out, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
			}
		}
		i += n
	}
	return out
}
