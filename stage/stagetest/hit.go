package stagetest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/stage"
)

// Build is a finished build: a *[Built] or a *stagewright.Result.
type Build interface {
	Graph() *stage.Graph
	Report() stage.Report
}

// MustHit wants every step of a build to come from the cache, or, when stages are given, every step that those are made of. A
// stage value names what was written up to it, so that
//
//	deps := stage.From("golang:1.26").Copy(stage.Files("go.mod"), ".").Run("go mod download")
//	app := deps.Copy(".", ".").Run("go build .")
//	...
//	stagetest.MustHit(t, stagetest.ImageWith(t, app, changed), deps)
//
// proves that a change of the source does not fetch the modules again. When a step ran, the test fails with the place where it
// was written, and with the first thing that differs from the nearest step of an earlier build: a variable, a file, a step that
// it stands on.
//
// A stage that is no part of the build ends the test.
func MustHit(tb testing.TB, b Build, stages ...stage.Stage) {
	tb.Helper()
	g := b.Graph()
	steps := g.Steps()
	wanted := make([]bool, len(steps))
	for _, s := range stages {
		found := false
		for _, t := range g.Targets() {
			if id, ok := g.Step(s, t.Platform); ok {
				found = true
				mark(steps, wanted, id)
			}
		}
		if !found {
			tb.Fatalf("stagetest: stage %s is no part of the build", s)
		}
	}
	ran := make([]bool, len(steps))
	for _, r := range b.Report().Steps {
		ran[r.Step] = r.Status == stage.Ran && (len(stages) == 0 || wanted[r.Step])
	}
	why := explanations(tb, b)
	var text strings.Builder
	n := 0
	for id, step := range steps {
		if !ran[id] {
			continue
		}
		n++
		fmt.Fprintf(&text, "\n%s: %s\n\t%s", step.Pos(), step.Text, reason(steps, ran, id, why[id]))
	}
	if n == 0 {
		return
	}
	if built, ok := b.(*Built); ok && built.inMemory {
		text.WriteString("\nThe build was in memory and could find nothing: give it a CacheDir or a Store that an earlier build had.")
	}
	tb.Errorf("stagetest: %s that should have been in the cache:%s", count(n, "step ran", "steps ran"), text.String())
}

// mark marks a step and all that it stands on.
func mark(steps []*stage.Step, marked []bool, id int) {
	for open := []int{id}; len(open) > 0; {
		id := open[len(open)-1]
		open = open[:len(open)-1]
		if id < 0 || marked[id] {
			continue
		}
		marked[id] = true
		open = append(append(open, steps[id].Parent), steps[id].Inputs...)
	}
}

// explanations are what the build tells of why its steps ran, by their numbers; nothing when it tells nothing.
func explanations(tb testing.TB, b Build) map[int]stage.Explanation {
	x, ok := b.(stage.ResultExplainer)
	if !ok {
		return nil
	}
	list, err := x.Explain(tb.Context())
	if err != nil {
		return nil
	}
	why := make(map[int]stage.Explanation, len(list))
	for _, e := range list {
		why[e.Step.ID] = e
	}
	return why
}

// reason says why a step ran, as far as the build tells.
func reason(steps []*stage.Step, ran []bool, id int, why stage.Explanation) string {
	if why.Cause != "" && why.Cause != stage.CauseFirst {
		if why.After != nil {
			return fmt.Sprintf("%s (%s)", why, why.After.Pos())
		}
		return why.String()
	}
	below := make([]bool, len(steps))
	mark(steps, below, id)
	below[id] = false
	for first := range steps {
		if below[first] && ran[first] {
			return fmt.Sprintf("because what it stands on ran: %s: %s", steps[first].Pos(), steps[first].Text)
		}
	}
	switch op := steps[id].Op.(type) {
	case *stage.CopyOp:
		if _, step := op.From.(stage.Stage); !step && op.From != nil {
			return "because of what it says itself, or of the files that it takes from " + op.From.String() + ": no build with this cache had the same"
		}
	}
	return "because of what it says itself, or of what it reads: no build with this cache had the same"
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + more
}

// position names a layer counted from either end.
func position(i int) string {
	if i < 0 {
		return strconv.Itoa(i) + " (from the top)"
	}
	return strconv.Itoa(i)
}
