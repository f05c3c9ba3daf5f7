package stage

import (
	"encoding/json"
	"fmt"
	"strings"
)

// graphJSON is the printed form. Its order and names are stable; fields may be
// added.
type graphJSON struct {
	Targets []targetJSON `json:"targets"`
	Steps   []stepJSON   `json:"steps"`
}

type targetJSON struct {
	Stage    string `json:"stage"`
	Platform string `json:"platform"`
	Step     int    `json:"step"`
}

type stepJSON struct {
	ID       int      `json:"id"`
	Stage    string   `json:"stage"`
	Platform string   `json:"platform"`
	Kind     string   `json:"kind"`
	Text     string   `json:"text"`
	Parent   *int     `json:"parent,omitempty"`
	Inputs   []int    `json:"inputs,omitempty"`
	Digest   string   `json:"digest,omitempty"`  // of a base image
	Sources  []string `json:"sources,omitempty"` // that are no steps
	Docker   bool     `json:"compatible,omitempty"`
	Since    *int     `json:"since,omitempty"`    // of a layer
	Deferred []string `json:"deferred,omitempty"` // names only the base image can define
	At       string   `json:"at"`
}

// MarshalJSON writes the targets and steps of the graph. The form is stable:
// fields may be added, none changes its meaning. It holds no secret, and no path
// of this machine but those of directory sources.
func (g *Graph) MarshalJSON() ([]byte, error) {
	out := graphJSON{Targets: []targetJSON{}, Steps: make([]stepJSON, 0, len(g.steps))}
	for _, t := range g.targets {
		out.Targets = append(out.Targets, targetJSON{t.Stage, t.Platform.String(), t.Step})
	}
	for _, s := range g.steps {
		j := stepJSON{
			ID: s.ID, Stage: s.Stage, Platform: s.Platform.String(), Kind: s.Kind(), Text: s.Text,
			Inputs: s.Inputs, Deferred: s.Deferred, At: s.Pos().String(),
		}
		if s.Parent >= 0 {
			j.Parent = &s.Parent
		}
		switch op := s.Op.(type) {
		case *BaseOp:
			j.Digest = op.Digest.String()
		case *CopyOp:
			j.Sources = appendLocal(nil, op.From)
			j.Docker = op.Compatible
		case *RunOp:
			for _, m := range op.Mounts {
				j.Sources = appendLocal(j.Sources, m.From)
			}
			j.Docker = op.Compatible
		case *LayerOp:
			j.Since = &op.Since
		}
		out.Steps = append(out.Steps, j)
	}
	return json.Marshal(out)
}

func appendLocal(list []string, from Source) []string {
	switch from.(type) {
	case nil, stepSource:
		return list
	}
	return append(list, from.String())
}

// Kind names the kind of the step's operation: "base", "run", "copy", "file",
// "mkdir", "symlink", "remove", "workdir", "merge", "apply", "func", "layer", "config",
// "arg" or "needs".
func (s *Step) Kind() string {
	switch s.Op.(type) {
	case *BaseOp:
		return "base"
	case *RunOp:
		return "run"
	case *CopyOp:
		return "copy"
	case *FileOp:
		return "file"
	case *MkdirOp:
		return "mkdir"
	case *SymlinkOp:
		return "symlink"
	case *RemoveOp:
		return "remove"
	case *WorkdirOp:
		return "workdir"
	case *MergeOp:
		return "merge"
	case *ApplyOp:
		return "apply"
	case *FuncOp:
		return "func"
	case *LayerOp:
		return "layer"
	case *ConfigOp:
		return "config"
	case *ArgOp:
		return "arg"
	case *NeedsOp:
		return "needs"
	}
	return "unknown"
}

// edges calls yield for every dependency: from is needed by to.
func (g *Graph) edges(yield func(from, to int, parent bool)) {
	for _, s := range g.steps {
		if s.Parent >= 0 {
			yield(s.Parent, s.ID, true)
		}
		for _, in := range s.Inputs {
			yield(in, s.ID, false)
		}
	}
}

// DOT returns the graph in the language of Graphviz. Solid edges continue a
// stage, dashed ones read its files.
func (g *Graph) DOT() string {
	var b strings.Builder
	b.WriteString("digraph stages {\n\trankdir=LR;\n\tnode [shape=box];\n")
	for _, s := range g.steps {
		fmt.Fprintf(&b, "\tn%d [label=%s];\n", s.ID, dotQuote(s.Stage+"\n"+s.Text))
	}
	g.edges(func(from, to int, parent bool) {
		style := ""
		if !parent {
			style = " [style=dashed]"
		}
		fmt.Fprintf(&b, "\tn%d -> n%d%s;\n", from, to, style)
	})
	for i, t := range g.targets {
		fmt.Fprintf(&b, "\tt%d [shape=doubleoctagon, label=%s];\n\tn%d -> t%d;\n", i, dotQuote(t.Stage+" "+t.Platform.String()), t.Step, i)
	}
	b.WriteString("}\n")
	return b.String()
}

func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// Mermaid returns the graph as a Mermaid flowchart, with a box around the steps
// of each stage.
func (g *Graph) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	type box struct{ stage, platform string }
	var order []box
	members := map[box][]*Step{}
	for _, s := range g.steps {
		k := box{s.Stage, s.Platform.String()}
		if members[k] == nil {
			order = append(order, k)
		}
		members[k] = append(members[k], s)
	}
	for i, k := range order {
		fmt.Fprintf(&b, "  subgraph s%d[%s]\n", i, mermaidQuote(k.stage+" "+k.platform))
		for _, s := range members[k] {
			fmt.Fprintf(&b, "    n%d[%s]\n", s.ID, mermaidQuote(s.Text))
		}
		b.WriteString("  end\n")
	}
	g.edges(func(from, to int, parent bool) {
		arrow := "-->"
		if !parent {
			arrow = "-.->"
		}
		fmt.Fprintf(&b, "  n%d %s n%d\n", from, arrow, to)
	})
	return b.String()
}

func mermaidQuote(s string) string {
	return `"` + strings.NewReplacer("&", "&amp;", `"`, "&quot;", "<", "&lt;", ">", "&gt;", "\n", "<br/>", "#", "&num;").Replace(s) + `"`
}
