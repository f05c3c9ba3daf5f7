package dockerfile_test

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

// TestWrite writes Dockerfiles of Dockerfiles: what is read of them is the same graph.
func TestWrite(t *testing.T) {
	for _, c := range written(t) {
		t.Run(c.name, func(t *testing.T) {
			g, err := compileCase(c.targets, c.platforms, c.args)
			if err != nil {
				t.Fatal(err)
			}
			text, err := dockerfile.Write(g)
			if err != nil {
				t.Fatal(err)
			}
			goldenPart(t, "written", c.name, "written", text)
			again := readBack(t, text, c, "")[0]
			if diff := cmp.Diff(dump(g), dump(again)); diff != "" {
				t.Errorf("the Dockerfile means something else (-want +got):\n%s\n%s", diff, text)
			}
			twice, err := dockerfile.Write(again)
			if err != nil || string(twice) != string(text) {
				t.Errorf("written again it differs: %v\n%s", err, cmp.Diff(string(text), string(twice)))
			}
		})
	}
}

// readBack compiles stages of a Dockerfile, each for itself.
func readBack(t *testing.T, text []byte, c sourceCase, names ...string) []*stage.Graph {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", text, dockerfile.Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if names == nil {
		names = []string{""}
		for _, name := range f.Stages() {
			if strings.Trim(name, "0123456789") != "" { // a stage without a name is a target only at the end
				names = append(names, name)
			}
		}
	}
	var graphs []*stage.Graph
	for _, name := range names {
		s, err := f.Target(name)
		if n, e := strconv.Atoi(name); e == nil {
			s, err = f.Numbered(n)
		}
		if err != nil {
			t.Fatal(err)
		}
		g, err := compileTriggers([]stage.Stage{s}, c.platforms, c.args, f.OnBuild)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		graphs = append(graphs, g)
	}
	return graphs
}

// TestWriteStages writes Dockerfiles of stages that programs made, or says all that they cannot say.
func TestWriteStages(t *testing.T) {
	for _, c := range goCases() {
		t.Run(c.name, func(t *testing.T) {
			g, err := compileCase(c.targets, c.platforms, c.args)
			if err != nil {
				t.Fatal(err)
			}
			text, err := dockerfile.Write(g)
			if err != nil {
				var refused stage.Errors
				if !errors.As(err, &refused) {
					t.Fatal(err)
				}
				goldenPart(t, "stages", c.name, "refused", []byte(err.Error()+"\n"))
				return
			}
			goldenPart(t, "stages", c.name, "Dockerfile", text)
			var again []string
			for _, g := range readBack(t, text, c) {
				again = append(again, outcomes(g)...)
			}
			for _, want := range outcomes(g) {
				if !slices.Contains(again, want) {
					t.Errorf("no stage is\n%s\nthere are\n%s\n%s", want, strings.Join(again, "\n"), text)
				}
			}
		})
	}
}

// outcomes are what became of each target: its history and configuration. Names of stages and what only one of the two
// rules writes down are left out.
func outcomes(g *stage.Graph) []string {
	var list []string
	steps := g.Steps()
	for _, target := range g.Targets() {
		var b strings.Builder
		cfg := *steps[target.Step].Config
		cfg.ArgsEscaped = false
		fmt.Fprintln(&b, target.Platform, asJSON(cfg), steps[target.Step].Author)
		for id := target.Step; id >= 0; id = steps[id].Parent {
			fmt.Fprintf(&b, "\t%q\n", comparable(steps[id].History))
		}
		list = append(list, b.String())
	}
	return list
}

// comparable is a line of history without what a File, a Script, a git repository and ports say in other words.
func comparable(history string) string {
	words := strings.Fields(history)
	switch {
	case strings.Contains(history, "<<EOF") || strings.HasPrefix(history, "FILE "):
		return "FILE " + path.Base(words[len(words)-1])
	case strings.HasPrefix(history, "ADD ") && strings.Contains(history, ".git"):
		return "ADD git " + words[len(words)-1]
	case strings.HasPrefix(history, "RUN ") && (strings.Contains(history, "make install") || strings.Contains(history, "python3") || strings.Contains(history, "/dev/pipes/")):
		return "RUN script"
	case strings.HasPrefix(history, "EXPOSE "):
		return fmt.Sprint(slices.Sorted(strings.FieldsSeq(strings.Trim(history, "EXPOS []"))))
	}
	return history
}
