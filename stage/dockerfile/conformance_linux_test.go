package dockerfile_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/stagewright/stagewright/internal/conformance"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

var rewrite = flag.String("rewrite", "", "write the conformance cases with their Dockerfiles written anew into this directory, for the live driver")

const conformanceData = "../../internal/conformance/testdata"

func init() { corpus = conformanceCases }

// conformanceCases are the Dockerfiles of internal/conformance that compile.
func conformanceCases(t *testing.T) []sourceCase {
	t.Helper()
	all, err := conformance.LoadCases(conformanceData + "/cases")
	if err != nil {
		t.Fatal(err)
	}
	var cases []sourceCase
	for _, c := range all {
		o := dockerfile.Options{Contexts: map[string]stage.Source{}, ContextRefs: map[string]string{}}
		for _, context := range c.Contexts {
			if strings.ContainsAny(context.Value, ":.") {
				o.ContextRefs[context.Name] = context.Value
			} else {
				o.Contexts[context.Name] = stage.Dir(context.Value)
			}
		}
		args := map[string]string{}
		for _, a := range c.Args {
			args[a.Name] = a.Value
		}
		f, err := dockerfile.Parse(c.File, c.Dockerfile, o)
		if err != nil {
			continue
		}
		s, err := f.Target(c.Target)
		if err != nil {
			continue
		}
		one := sourceCase{name: c.Name, targets: []stage.Stage{s}, platforms: c.Platform, args: args, file: f}
		if _, err := one.compile(); err == nil {
			cases = append(cases, one)
		}
	}
	if len(cases) < len(all)/2 {
		t.Fatalf("only %d of %d cases compile", len(cases), len(all))
	}
	return cases
}

// unwritten are the cases that read a directory as a further context, which no Dockerfile can name.
var unwritten = []string{"copy/named-context", "ignore/named-context-own", "stages/named-context-replaces-stage"}

// TestWriteConformance writes the Dockerfiles of all conformance cases anew: what is read of them is the same graph.
func TestWriteConformance(t *testing.T) {
	for _, c := range conformanceCases(t) {
		t.Run(c.name, func(t *testing.T) {
			g, err := c.compile()
			if err != nil {
				t.Fatal(err)
			}
			text, err := dockerfile.Write(g)
			var unsupported *dockerfile.UnsupportedError
			if slices.Contains(unwritten, c.name) {
				if !errors.As(err, &unsupported) {
					t.Errorf("error %v, want one of a step without a spelling", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if *rewrite != "" {
				rewriteCase(t, c.name, text)
			}
			again := readBack(t, text, c, "")[0]
			diff := cmp.Diff(dump(g), dump(again))
			if strings.Contains(string(text), " AS stage0\n") { // a stage without a name has one then
				diff = cmp.Diff(outcomes(g), outcomes(again))
			}
			if diff != "" {
				t.Errorf("the Dockerfile means something else (-want +got):\n%s\n%s", diff, text)
			}
		})
	}
}

// rewriteCase writes a case whose Dockerfile is another one, beside the bases and goldens of all cases.
func rewriteCase(t *testing.T, name string, text []byte) {
	archive, err := txtar.ParseFile(filepath.Join(conformanceData, "cases", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	file := "Dockerfile"
	for line := range strings.Lines(string(archive.Comment)) {
		if value, ok := strings.CutPrefix(line, "file: "); ok {
			file = strings.TrimSpace(value)
		}
	}
	// The frontend of the daemon is the one to ask: nothing is fetched.
	text = bytes.TrimPrefix(text, []byte("# syntax=docker/dockerfile:1\n"))
	for i := range archive.Files {
		if f := &archive.Files[i]; f.Name == file || f.Name == "context/"+file {
			f.Data = text
		}
	}
	writeFile(t, filepath.Join(*rewrite, "cases", name+".txtar"), txtar.Format(archive))
	for _, dir := range []string{"bases", "golden"} {
		from, err := filepath.Abs(filepath.Join(conformanceData, dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(*rewrite, dir)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
}
