package conformance_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/internal/conformance"
)

func TestParseCase(t *testing.T) {
	c, err := conformance.ParseCase("g/n", []byte(`# C1 C22, what it
# shows
args: A=1 B="x y" C='a"b' D=a\ b
target: final
platform: linux/arm64
context other: dir
context img: bases.test/shell
secret token: a value
fails: nothing
-- Dockerfile --
FROM scratch
-- context/a --
`))
	if err != nil {
		t.Fatal(err)
	}
	type pairs = []conformance.Pair
	got := []any{c.Items, c.Doc, c.Args, c.Target, c.Platform, c.Contexts, c.Secrets, c.Fails, string(c.Dockerfile)}
	want := []any{
		[]string{"C1", "C22"}, "what it shows", pairs{{"A", "1"}, {"B", "x y"}, {"C", `a"b`}, {"D", "a b"}}, "final", "linux/arm64",
		pairs{{"other", "dir"}, {"img", "bases.test/shell"}}, pairs{{"token", "a value"}}, "nothing", "FROM scratch\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseCaseMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"-- Dockerfile --\n":                                 "must name an item",
		"# C1 x\nfoo: bar\n-- Dockerfile --\n":               "unknown setting",
		"# C1 x\nargs: A\n-- Dockerfile --\n":                "no value",
		"# C1 x\n-- Other --\n":                              "no file Dockerfile",
		"# C1 x\n-- Dockerfile --\n-- modes --\n0644 0:0 x":  "no file x",
		"# C1 x\n-- Dockerfile --\n-- modes --\n0999 0:0 .":  "not octal",
		"# C1 x\n-- Dockerfile --\n-- context/../x --\n":     "no clean relative path",
		"# C1 x\nlive: yes\n-- Dockerfile --\n":              "must be \"only\"",
		"# C1 x\nargs: A=\"x\n-- Dockerfile --\n":            "unclosed",
		"# C1 x\n-- Dockerfile --\n-- modes --\nwhat is it?": "modes:",
	} {
		if _, err := conformance.ParseCase("g/n", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A golden is read as it was written, and a difference names both sides.
func TestGolden(t *testing.T) {
	want := &conformance.Dump{Base: "shell", Lines: []conformance.Line{{"/a", `file 0644 0:0 "x"`}, {"os", `"linux"`}}}
	back, err := conformance.ParseGolden(want.Text())
	if err != nil || !slices.Equal(back.Lines, want.Lines) || back.Base != "shell" {
		t.Fatalf("%v, %v", back, err)
	}
	if diff := conformance.Diff(want, back, "a", "b"); diff != "" {
		t.Errorf("a difference:\n%s", diff)
	}
	back.Lines = []conformance.Line{{"/a", `file 0755 0:0 "x"`}, {"/b", "dir 0755 0:0"}}
	got := conformance.Diff(want, back, "want", "got")
	const text = `  /a
    - want: file 0644 0:0 "x"
    + got: file 0755 0:0 "x"
  /b
    - want: (nothing)
    + got: dir 0755 0:0
  os
    - want: "linux"
    + got: (nothing)
`
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
