package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
)

// explain writes which steps would be built, and why, instead of building.
func explain(ctx context.Context, form string, target stage.Stage, o stagewright.Options, out io.Writer) error {
	list, err := stagewright.Explain(ctx, target, o)
	if err != nil {
		return err
	}
	if form == "json" {
		text, err := json.MarshalIndent(list, "", "  ")
		if err == nil {
			_, err = fmt.Fprintf(out, "%s\n", text)
		}
		return err
	}
	counts := map[stage.Status]int{}
	for _, e := range list {
		counts[e.Status]++
		if e.Cause == "" {
			continue
		}
		fmt.Fprintf(out, "%s: stage %s: %s\n    %s\n", e.Step.Pos(), e.Step.Stage, short(e.Step.Text, 100), e)
		if e.Cause != stage.CauseBelow {
			fmt.Fprintf(out, "    needed by %s\n", way(list, e))
		}
	}
	_, err = fmt.Fprintf(out, "%d to build, %d in the cache", counts[stage.Ran], counts[stage.Hit])
	if n := counts[""]; n > 0 {
		_, err = fmt.Fprintf(out, ", %d known when the others ran", n)
	}
	fmt.Fprintln(out)
	return err
}

// way tells for what a step is needed: the last step of a target, then of each stage on the way to the step the
// one that takes files from it.
func way(list []stage.Explanation, e stage.Explanation) string {
	above := map[*stage.Step]*stage.Step{}
	for _, x := range list {
		above[x.Step] = x.Above
	}
	var steps []string
	for last := e.Step; ; {
		next := above[last]
		if next == nil {
			steps = append(steps, "stage "+last.Stage)
			break
		}
		if next.Stage != last.Stage {
			steps = append(steps, fmt.Sprintf("%s (stage %s)", short(next.Text, 60), next.Stage))
		}
		last = next
	}
	return strings.Join(steps, ", ")
}

// short is a text on one line.
func short(text string, limit int) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}
