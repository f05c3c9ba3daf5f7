package executortest

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stagewright/stagewright/stage"
)

// eventCases are about what a build tells.
var eventCases = []suiteCase{
	{"Events", testEvents},
	{"EventsOfFailure", testEventsOfFailure},
	{"Report", testReport},
	{"Plan", testPlan},
}

// cacheCases are about executing again.
var cacheCases = []suiteCase{
	{"SecondExecuteHits", testSecondHits},
}

// events collects what a build tells, and notices calls at the same time.
type events struct {
	busy    atomic.Bool
	overlap atomic.Bool
	mu      sync.Mutex
	list    []stage.Event
	hook    func(stage.Event)
}

// add is a Request.Progress.
func (e *events) add(ev stage.Event) {
	if !e.busy.CompareAndSwap(false, true) {
		e.overlap.Store(true)
	}
	if out, ok := ev.(stage.StepOutput); ok { // the data is valid during the call only
		out.Data = slices.Clone(out.Data)
		ev = out
	}
	e.mu.Lock()
	e.list = append(e.list, ev)
	e.mu.Unlock()
	if e.hook != nil {
		e.hook(ev)
	}
	for range 10 { // a chance for somebody else to come in
		runtime.Gosched()
	}
	e.busy.Store(false)
}

// output is what a step wrote.
func (e *events) output(step *stage.Step, stream stage.Stream) string {
	var text []byte
	for _, ev := range e.list {
		if out, ok := ev.(stage.StepOutput); ok && out.Step == step && out.Stream == stream {
			text = append(text, out.Data...)
		}
	}
	return string(text)
}

// finished is how a step ended; nil when nothing told it.
func (e *events) finished(id int) *stage.StepFinished {
	for _, ev := range e.list {
		if f, ok := ev.(stage.StepFinished); ok && f.Step.ID == id {
			return &f
		}
	}
	return nil
}

// check wants events one at a time, about steps of the graph, and each step's in
// order: started at most once, output and progress only between start and end,
// ended at most once, and ended when it had started.
func (e *events) check(f *fixture, g *stage.Graph) {
	f.Helper()
	if e.overlap.Load() {
		f.Error("Progress was called before an earlier call had returned")
	}
	started, ended := map[int]bool{}, map[int]bool{}
	known := func(s *stage.Step) bool {
		if s == nil || s.ID < 0 || s.ID >= len(g.Steps()) || g.Steps()[s.ID] != s {
			f.Errorf("an event about %v, which is no step of the graph", s)
			return false
		}
		return true
	}
	inside := func(what string, s *stage.Step) {
		if known(s) && (!started[s.ID] || ended[s.ID]) {
			f.Errorf("%s: %s outside of start and end", s.Text, what)
		}
	}
	for _, ev := range e.list {
		switch ev := ev.(type) {
		case stage.StepStarted:
			if known(ev.Step) && (started[ev.Step.ID] || ended[ev.Step.ID]) {
				f.Errorf("%s: started twice, or after its end", ev.Step.Text)
			}
			if ev.Time.IsZero() {
				f.Errorf("%s: started at no time", ev.Step.Text)
			}
			started[ev.Step.ID] = true
		case stage.StepOutput:
			inside("output", ev.Step)
		case stage.StepProgress:
			inside("progress", ev.Step)
		case stage.StepFinished:
			if !known(ev.Step) {
				continue
			}
			if ended[ev.Step.ID] {
				f.Errorf("%s: ended twice", ev.Step.Text)
			}
			ended[ev.Step.ID] = true
			e.checkEnd(f, ev)
		}
	}
	for id := range started {
		if !ended[id] {
			f.Errorf("%s: started and never ended", g.Steps()[id].Text)
		}
	}
}

func (e *events) checkEnd(f *fixture, ev stage.StepFinished) {
	f.Helper()
	s := ev.Step
	if r := ev.StepReport; r.Step != s.ID || r.Stage != s.Stage || r.Text != s.Text || r.Platform != s.Platform.String() {
		f.Errorf("%s: ended with the report of another step: %+v", s.Text, r)
	}
	bad := ev.Status == stage.Failed || ev.Status == stage.Canceled
	if !bad && ev.Status != stage.Ran && ev.Status != stage.Hit {
		f.Errorf("%s: ended as %q", s.Text, ev.Status)
	}
	if bad != (ev.Err != nil) {
		f.Errorf("%s: ended as %q with the error %v", s.Text, ev.Status, ev.Err)
	}
}

// forked is a graph with independent branches.
func forked() stage.Stage {
	base := stage.Scratch(stage.As("base")).File("/base", "b")
	app := stage.Scratch(stage.As("app"))
	for _, name := range []string{"a", "b", "c", "d"} {
		branch := stage.From(base, stage.As("branch-"+name)).Env("NAME", name).File("/"+name, name)
		app = app.CopyFrom(branch, stage.Files("/"+name), "/"+name)
	}
	return app
}

func testEvents(f *fixture) {
	g := f.compile(forked())
	for range 2 {
		e := &events{}
		f.execute(f.executor(), g, stage.Request{Progress: e.add})
		e.check(f, g)
		for _, s := range g.Steps() {
			if changesFiles(s) && e.finished(s.ID) == nil {
				f.Errorf("%s: nothing told that it ended", s.Text)
			}
		}
	}
}

func testEventsOfFailure(f *fixture) {
	g := f.compile(forked().Remove("/not-there"))
	e := &events{}
	_, err := f.executor().Execute(f.Context(), g, stage.Request{Progress: e.add})
	if err == nil {
		f.Fatal("Execute succeeded")
	}
	before := len(e.list)
	e.check(f, g)
	end := e.finished(g.Targets()[0].Step)
	if end == nil || end.Status != stage.Failed {
		f.Errorf("the failed step ended as %+v", end)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.list) != before {
		f.Error("events came after Execute had returned")
	}
}

// testReport wants every step that can change files in the report, once, in the
// order of the graph, as its event told it.
func testReport(f *fixture) {
	g := f.compile(forked())
	e := &events{}
	report := f.execute(f.executor(), g, stage.Request{Progress: e.add}).Report()
	var want, got []int
	for _, s := range g.Steps() {
		if changesFiles(s) {
			want = append(want, s.ID)
		}
	}
	for _, r := range report.Steps {
		got = append(got, r.Step)
		if end := e.finished(r.Step); end != nil && end.StepReport != r {
			f.Errorf("the report says %+v, the event said %+v", r, end.StepReport)
		}
		s := g.Steps()[r.Step]
		if _, ok := s.Op.(*stage.FileOp); ok && r.Status == stage.Ran && (r.Files != 1 || r.Bytes != 1) {
			f.Errorf("%s: %d files and %d bytes in the report, want 1 and 1", s.Text, r.Files, r.Bytes)
		}
	}
	if !slices.Equal(got, want) {
		f.Errorf("the report has the steps %v, want %v", got, want)
	}
	if report.Ran()+report.Hits() != len(report.Steps) {
		f.Errorf("%d run and %d hits of %d steps", report.Ran(), report.Hits(), len(report.Steps))
	}
	if report.Duration < 0 {
		f.Errorf("duration %v", report.Duration)
	}
}

// testPlan wants a plan to name every step and run none; an executor without
// plans is none of stage.Planner.
func testPlan(f *fixture) {
	g := f.compile(forked())
	e := &events{}
	plan, err := stage.Plan(f.Context(), f.executor(), g, stage.Request{Progress: e.add})
	if _, ok := f.executor().(stage.Planner); !ok {
		if !errors.Is(err, stage.ErrUnsupported) {
			f.Errorf("stage.Plan: %v, want stage.ErrUnsupported", err)
		}
		return
	}
	if err != nil {
		f.Fatal(err)
	}
	for _, ev := range e.list {
		if _, ok := ev.(stage.StepStarted); ok {
			f.Errorf("a plan started a step: %+v", ev)
		}
	}
	seen := map[int]bool{}
	for _, p := range plan {
		seen[p.Step.ID] = true
	}
	for _, s := range g.Steps() {
		if changesFiles(s) && !seen[s.ID] {
			f.Errorf("the plan lacks %s", s.Text)
		}
	}
	if f.o.NoCache {
		return
	}
	f.execute(f.executor(), g, stage.Request{})
	plan, err = stage.Plan(f.Context(), f.executor(), g, stage.Request{})
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range plan {
		if changesFiles(p.Step) && p.Status != stage.Hit {
			f.Errorf("after a build the plan says %q for %s", p.Status, p.Step.Text)
		}
	}
}

func testSecondHits(f *fixture) {
	g := f.compile(forked())
	first := f.execute(f.executor(), g, stage.Request{})
	second := f.execute(f.executor(), f.compile(forked()), stage.Request{})
	if n := second.Report().Ran(); n != 0 {
		f.Errorf("the second build ran %d steps: %+v", n, second.Report().Steps)
	}
	if a, b := f.digest(first), f.digest(second); a != b {
		f.Errorf("the second build has the digest %s, the first had %s", b, a)
	}
	list, err := imageListing(second.Outputs()[0].Image)
	if err != nil || len(list) != 4 {
		f.Errorf("the image of the second build has %q, %v", list, err)
	}
}
