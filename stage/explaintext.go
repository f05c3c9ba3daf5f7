package stage

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// String tells in one line why the step has no result in the cache: the first difference,
// and how many more there are. It is empty for a step that nothing changed for.
func (e Explanation) String() string {
	text := e.reason()
	if n := len(e.Differences) - 1 + e.More; n > 0 && e.Cause != CauseBelow {
		text += fmt.Sprintf(", and %d more", n)
	}
	if text != "" && e.Status == "" {
		text += "; whether the cache has the result all the same, is known when that ran"
	}
	return text
}

func (e Explanation) reason() string {
	first := ""
	if len(e.Differences) > 0 {
		first = e.Differences[0].String()
	}
	switch e.Cause {
	case CauseFirst:
		if e.Local {
			return "never built before with this cache; what was built elsewhere is not known, an exported cache has results and no history"
		}
		return "never built before"
	case CauseExpired:
		if e.Earlier != nil && !e.Earlier.Made.IsZero() {
			return "its result of " + e.Earlier.Made.Format(time.RFC3339) + " is older than it may be"
		}
		return "its result is older than it may be"
	case CauseChanged, CauseLost, CauseLayers:
		if first != "" {
			return first
		}
		return map[Cause]string{
			CauseChanged: "changed, but what the cache knows of the earlier step does not say what",
			CauseLost:    "the cache has lost its result",
			CauseLayers:  "the cache has not got its layers in the wanted form",
		}[e.Cause]
	case CauseBelow:
		if first == "" && e.After != nil {
			return Difference{Kind: Changed, What: "parent", New: shorten(e.After.Text)}.String()
		}
		return first
	case CauseFiles:
		if e.After != nil {
			return "stands on other files than before: " + plain(shorten(e.After.Text)) + " gave them when it ran again"
		}
		return "stands on other files than before"
	case CauseBypassed:
		return "built without the cache (no-cache)"
	}
	return first
}

// String tells the difference in a few words, as "ENV FOO changed (1 -> 2)" or
// "web/app.js: content". Names and values with characters that do not print are quoted as in Go.
func (d Difference) String() string {
	switch {
	case d.What == "file":
		return d.file()
	case d.What == "parent", d.What == "source":
		return d.stands()
	case d.Kind == Lost:
		return "its " + d.What + " was " + d.Aspect
	}
	text := d.What
	if d.Name != "" {
		text += " " + plain(d.Name)
	}
	if d.Aspect != "" {
		text += ", " + d.Aspect
	}
	text += " " + string(d.Kind)
	switch {
	case d.Kind == Added && d.New != "":
		text += " (" + plain(d.New) + ")"
	case d.Kind == Removed && d.Old != "":
		text += " (" + plain(d.Old) + ")"
	case d.Kind == Changed && (d.Old != "" || d.New != ""):
		text += " (" + d.values() + ")"
	}
	return text
}

func (d Difference) values() string { return value(d.Old) + " -> " + value(d.New) }

func (d Difference) file() string {
	name := plain(d.Name)
	switch {
	case d.Kind != Changed:
		return name + ": " + string(d.Kind)
	case d.Aspect == "":
		return name + ": changed"
	case d.Old != "" || d.New != "":
		return name + ": " + d.Aspect + " (" + d.values() + ")"
	}
	return name + ": " + d.Aspect
}

// stands tells of a step that stands on another than before, on one that changed, on one that is new,
// or on one that has to be made again.
func (d Difference) stands() string {
	verb, earlier := "stands on ", ", earlier on "
	if d.What == "source" {
		verb, earlier = "reads ", ", earlier "
	}
	switch {
	case d.Kind == Added:
		return verb + value(d.New) + ", which is new"
	case d.Kind == Lost:
		return verb + value(d.New) + ", which is made again"
	case d.Old == "" || d.Old == d.New:
		return verb + value(d.New) + ", which changed"
	}
	return verb + value(d.New) + earlier + plain(d.Old)
}

// value spells a value: one that is empty is visible, too.
func value(s string) string {
	if s == "" {
		return `""`
	}
	return plain(s)
}

// plain leaves a text as it is when it prints on one line as what it is.
func plain(s string) string {
	odd := func(r rune) bool { return !strconv.IsPrint(r) }
	if strings.TrimSpace(s) != s || strings.HasPrefix(s, `"`) || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}

type explanationJSON struct {
	Step        int              `json:"step"`
	Stage       string           `json:"stage"`
	Platform    string           `json:"platform"`
	Text        string           `json:"text"`
	At          string           `json:"at"`
	Status      Status           `json:"status"`
	Cause       Cause            `json:"cause,omitempty"`
	Reason      string           `json:"reason,omitempty"`
	After       *int             `json:"after,omitempty"`
	Above       *int             `json:"above,omitempty"`
	Differences []differenceJSON `json:"differences,omitempty"`
	More        int              `json:"more,omitempty"`
	Earlier     *earlierJSON     `json:"earlier,omitempty"`
	Local       bool             `json:"local,omitempty"`
}

type differenceJSON struct {
	Kind   DifferenceKind `json:"kind"`
	What   string         `json:"what"`
	Name   string         `json:"name,omitempty"`
	Aspect string         `json:"aspect,omitempty"`
	Old    string         `json:"old,omitempty"`
	New    string         `json:"new,omitempty"`
	Text   string         `json:"text"`
}

type earlierJSON struct {
	Text string    `json:"text,omitempty"`
	Made time.Time `json:"made,omitzero"`
}

// MarshalJSON writes the explanation for tools: steps by their number in the graph, each
// difference with its fields and as text. The form is stable: fields may be added, none
// changes its meaning; the wording of reason and text may change. It holds no secret.
func (e Explanation) MarshalJSON() ([]byte, error) {
	out := explanationJSON{Status: e.Status, Cause: e.Cause, Reason: e.String(), More: e.More, Local: e.Local}
	if s := e.Step; s != nil {
		out.Step, out.Stage, out.Platform, out.Text, out.At = s.ID, s.Stage, s.Platform.String(), s.Text, s.Pos().String()
	}
	if e.After != nil {
		out.After = &e.After.ID
	}
	if e.Above != nil {
		out.Above = &e.Above.ID
	}
	for _, d := range e.Differences {
		out.Differences = append(out.Differences, differenceJSON{d.Kind, d.What, d.Name, d.Aspect, d.Old, d.New, d.String()})
	}
	if e.Earlier != nil {
		out.Earlier = &earlierJSON{e.Earlier.Text, e.Earlier.Made}
	}
	return json.Marshal(out)
}

// Above returns for each step the one that continues or reads it on a shortest way from a
// target: -1 for the last step of a target, and for a step that no target needs.
func (g *Graph) Above() []int {
	above := make([]int, len(g.steps))
	seen := make([]bool, len(g.steps))
	var open []int
	for i := range above {
		above[i] = -1
	}
	for _, t := range g.targets {
		if !seen[t.Step] {
			seen[t.Step] = true
			open = append(open, t.Step)
		}
	}
	for len(open) > 0 {
		id := open[0]
		open = open[1:]
		for _, below := range append([]int{g.steps[id].Parent}, g.steps[id].Inputs...) {
			if below >= 0 && !seen[below] {
				seen[below], above[below] = true, id
				open = append(open, below)
			}
		}
	}
	return above
}
