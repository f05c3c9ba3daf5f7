package stage_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/stage"
)

func TestDifferenceString(t *testing.T) {
	for _, c := range []struct {
		d    stage.Difference
		want string
	}{
		{stage.Difference{Kind: stage.Changed, What: "ENV", Name: "FOO", Old: "1", New: "2"}, "ENV FOO changed (1 -> 2)"},
		{stage.Difference{Kind: stage.Changed, What: "ENV", Name: "FOO", Old: "", New: "2 "}, `ENV FOO changed ("" -> "2 ")`},
		{stage.Difference{Kind: stage.Added, What: "ENV", Name: "FOO", New: "1"}, "ENV FOO added (1)"},
		{stage.Difference{Kind: stage.Removed, What: "ARG", Name: "FOO"}, "ARG FOO removed"},
		{stage.Difference{Kind: stage.Changed, What: "mount", Name: "/m", Aspect: "id", Old: "a", New: "b"}, "mount /m, id changed (a -> b)"},
		{stage.Difference{Kind: stage.Changed, What: "file", Name: "web/app.js", Aspect: "content"}, "web/app.js: content"},
		{stage.Difference{Kind: stage.Changed, What: "file", Name: "a\x1b[0m", Aspect: "mode", Old: "0644", New: "0755"}, `"a\x1b[0m": mode (0644 -> 0755)`},
		{stage.Difference{Kind: stage.Added, What: "file", Name: "x"}, "x: added"},
		{stage.Difference{Kind: stage.Changed, What: "file", Name: "x"}, "x: changed"},
		{stage.Difference{Kind: stage.Changed, What: "parent", New: "RUN make"}, "stands on RUN make, which changed"},
		{stage.Difference{Kind: stage.Changed, What: "parent", Old: "RUN a", New: "FROM b"}, "stands on FROM b, earlier on RUN a"},
		{stage.Difference{Kind: stage.Changed, What: "source", Old: "RUN a", New: "RUN b"}, "reads RUN b, earlier RUN a"},
		{stage.Difference{Kind: stage.Lost, What: "directory", Aspect: "removed (GC)"}, "its directory was removed (GC)"},
	} {
		if got := c.d.String(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.d, got, c.want)
		}
	}
}

func TestExplanationString(t *testing.T) {
	env := stage.Difference{Kind: stage.Changed, What: "ENV", Name: "FOO", Old: "1", New: "2"}
	step := &stage.Step{Text: "RUN make"}
	for _, c := range []struct {
		e    stage.Explanation
		want string
	}{
		{stage.Explanation{Status: stage.Hit}, ""},
		{stage.Explanation{Status: stage.Ran, Cause: stage.CauseFirst}, "never built before"},
		{stage.Explanation{Status: stage.Ran, Cause: stage.CauseFirst, Local: true}, "never built before with this cache; what was built elsewhere is not known, an exported cache has results and no history"},
		{stage.Explanation{Status: stage.Ran, Cause: stage.CauseChanged, Differences: []stage.Difference{env, env}, More: 3}, "ENV FOO changed (1 -> 2), and 4 more"},
		{stage.Explanation{Status: stage.Ran, Cause: stage.CauseChanged}, "changed, but what the cache knows of the earlier step does not say what"},
		{stage.Explanation{Cause: stage.CauseBelow, After: step}, "stands on RUN make, which changed; whether the cache has the result all the same, is known when that ran"},
		{stage.Explanation{Status: stage.Ran, Cause: stage.CauseFiles, After: step}, "stands on other files than before: RUN make gave them when it ran again"},
		{stage.Explanation{Status: stage.Ran, Cause: stage.CauseBypassed}, "built without the cache (no-cache)"},
	} {
		if got := c.e.String(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.e, got, c.want)
		}
	}
}

// The form for tools is stable.
func TestExplanationJSON(t *testing.T) {
	g := compileWith(t, stage.Options{}, stage.Scratch(stage.As("app")).File("/f", "x").Run("make"))
	steps := g.Steps()
	got, err := json.MarshalIndent([]stage.Explanation{
		{Step: steps[1], Status: stage.Hit},
		{Step: steps[1], Status: stage.Ran, Cause: stage.CauseFirst, Local: true},
		{
			Step: steps[2], Status: stage.Ran, Cause: stage.CauseChanged, After: steps[1], Above: steps[2], More: 1,
			Differences: []stage.Difference{{Kind: stage.Changed, What: "ENV", Name: "FOO", Old: "1", New: "2"}},
			Earlier:     &stage.EarlierStep{Text: "RUN make", Made: time.Unix(0, 0).UTC()},
		},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "explanation.json", string(got)+"\n")
}

func TestAbove(t *testing.T) {
	a := stage.Scratch(stage.As("a")).File("/f", "x").File("/one", "x")
	b := stage.Scratch(stage.As("b")).CopyFrom(a, "/f", "/f").File("/two", "x")
	g := compileWith(t, stage.Options{}, b)
	above := g.Above()
	one, ok := g.Step(a, g.Targets()[0].Platform)
	if !ok {
		t.Fatal("no stage a")
	}
	var way []string
	for id := one - 1; id >= 0; id = above[id] {
		way = append(way, g.Steps()[id].Text)
	}
	if diff := cmp.Diff([]string{"FILE /f", "FILE /one", "COPY --from=a /f /f", "FILE /two"}, way); diff != "" {
		t.Error(diff)
	}
}

// An executor that cannot explain is told apart from one that has nothing to say.
func TestExplainUnsupported(t *testing.T) {
	g := compileWith(t, stage.Options{}, stage.Scratch().File("/f", "x"))
	if _, err := stage.Explain(t.Context(), nil, g, stage.Request{}); !errors.Is(err, stage.ErrUnsupported) {
		t.Error(err)
	}
}
