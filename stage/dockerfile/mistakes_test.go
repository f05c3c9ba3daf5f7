package dockerfile_test

import (
	"context"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

var updateMistakes = flag.Bool("update-mistakes", false, "write testdata/mistakes.txt")

// TestMistakes: every mistake is reported with line, column and what to write, all of them in
// one run.
func TestMistakes(t *testing.T) {
	const file = "testdata/mistakes.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(data), "\n=== ")
	updated := head
	for _, c := range sections(t, file) {
		text, want := "", ""
		for line := range strings.Lines(c.text) {
			if report, ok := strings.CutPrefix(line, "#> "); ok {
				want += report
			} else if line != "\n" || text != "" {
				text += line
			}
		}
		text = strings.TrimRight(text, "\n") + "\n"
		got := report(text) + "\n"
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(want, got); diff != "" && !*updateMistakes {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
		updated += "\n=== " + c.name + "\n" + strings.TrimPrefix(text, "\n")
		for line := range strings.Lines(got) {
			updated += "#> " + line
		}
		updated = strings.TrimSuffix(updated, "\n")
	}
	if *updateMistakes {
		if err := os.WriteFile(file, []byte(updated+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// report is what is said of a text: by Parse, else by Target, else by Compile.
func report(text string) string {
	f, err := dockerfile.Parse("dir/Dockerfile", []byte(text), dockerfile.Options{})
	if err != nil {
		return err.Error()
	}
	s, err := f.Numbered(0)
	if err != nil {
		return err.Error()
	}
	if _, err = stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{Resolver: frontendBases{}}); err != nil {
		return err.Error()
	}
	return "nothing"
}
