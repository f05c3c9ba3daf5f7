package stage

import (
	"time"

	"github.com/stagewright/stagewright/image"
)

// Event is one happening of a build. The kinds are sealed: [StepStarted],
// [StepOutput], [StepProgress], [StepFinished], [Notice], and of the time after the last
// step [SinkStarted], [SinkProgress], [SinkFinished].
//
// An executor calls Request.Progress with one event at a time, in the order in
// which they happened; the callback must not block for long, since the build
// waits for it.
type Event interface{ event() }

// Status says how a step ended.
type Status string

const (
	// Hit means that the cache had the result.
	Hit Status = "hit"
	// Ran means that the step was executed.
	Ran Status = "run"
	// Failed means that the step, or something it needs, failed.
	Failed Status = "failed"
	// Canceled means that the build ended before the step did.
	Canceled Status = "canceled"
)

// StepStarted says that the executor began to look for or to make the result of
// a step.
type StepStarted struct {
	Step *Step
	Time time.Time
}

// Stream is one of the two outputs of a process.
type Stream string

const (
	// Stdout is standard output.
	Stdout Stream = "stdout"
	// Stderr is standard error.
	Stderr Stream = "stderr"
)

// StepOutput is a piece of what a Run step's processes wrote, as it came: not
// cut at line ends and never left out.
type StepOutput struct {
	Step   *Step
	Stream Stream
	Data   []byte // must not be kept or changed after the callback returns
}

// StepProgress is how far a step has come with something that is counted in
// bytes: a base image being read, a layer being written.
type StepProgress struct {
	Step  *Step
	What  string
	Done  int64
	Total int64 // 0 when unknown
}

// StepFinished says how a step ended.
type StepFinished struct {
	Step *Step
	StepReport
	Err error // nil unless Status is Failed or Canceled
}

// Notice is something a user may want to know that belongs to no step, such as
// which sandbox was chosen.
type Notice struct {
	Text string
}

// SinkStarted says that a sink was handed the finished image. Sinks run side by side.
type SinkStarted struct {
	Index int    // its number in the build's list, from 0
	Name  string // where it writes
	Time  time.Time
}

// SinkProgress is how far a sink has come with one blob.
type SinkProgress struct {
	Index int
	Name  string
	image.Transfer
}

// SinkFinished says what a sink did.
type SinkFinished struct {
	Index int
	image.Delivery
	Duration time.Duration
	Err      error // nil when the image is there
}

func (StepStarted) event()  {}
func (StepOutput) event()   {}
func (StepProgress) event() {}
func (StepFinished) event() {}
func (Notice) event()       {}
func (SinkStarted) event()  {}
func (SinkProgress) event() {}
func (SinkFinished) event() {}

// StepReport is what there is to tell of one step after a build.
type StepReport struct {
	Step     int           `json:"step"`
	Stage    string        `json:"stage"`
	Platform string        `json:"platform"`
	Text     string        `json:"text"`
	Status   Status        `json:"status"`
	Duration time.Duration `json:"duration"` // nanoseconds
	Files    int           `json:"files"`    // changed files of the step's layer
	Bytes    int64         `json:"bytes"`    // contents of those files
}

// Report is what there is to tell of a build. Steps has every step that can change
// files, in the order of the graph; those that only change the configuration, and the
// empty beginning of scratch, are left out. A step that nothing needed, because a
// later step was a hit, is there as a hit with no duration.
type Report struct {
	Steps    []StepReport  `json:"steps"`
	Duration time.Duration `json:"duration"` // nanoseconds
}

// Ran returns how many steps were executed.
func (r Report) Ran() int { return r.count(Ran) }

// Hits returns how many steps the cache had.
func (r Report) Hits() int { return r.count(Hit) }

func (r Report) count(s Status) int {
	n := 0
	for _, step := range r.Steps {
		if step.Status == s {
			n++
		}
	}
	return n
}
