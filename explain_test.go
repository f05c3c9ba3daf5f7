package stagewright_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// explained are the steps that something is said of, one a line.
func explained(t *testing.T, s stage.Stage, o stagewright.Options) (lines []string) {
	t.Helper()
	list, err := stagewright.Explain(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if x.Cause != "" {
			lines = append(lines, fmt.Sprintf("%s: %s: %s", x.Cause, x.Step.Text, x))
		}
	}
	return lines
}

// TestExplainMovedBase: a tag that moved is told with both digests, and that the steps above stand on it.
func TestExplainMovedBase(t *testing.T) {
	reg := newListed(t)
	base := reg.host + "/base:1"
	o := stagewright.Options{Store: cache.NewMemory(), Platforms: platform.MustParseSet("linux/amd64")}
	var pins []string
	push := func(text string) {
		t.Helper()
		res, err := stagewright.Build(t.Context(), stage.Scratch().File("/base", text), stagewright.Options{
			Store: cache.NewMemory(), Platforms: o.Platforms, Sinks: []image.Sink{registry.Push(base)},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		d, err := res.Digest()
		if err != nil {
			t.Fatal(err)
		}
		pins = append(pins, d)
	}
	push("one")
	app := stage.From(base, stage.As("app")).File("/f", "x").Env("A", "b").Mkdir("/d")
	res, err := stagewright.Build(t.Context(), app, o)
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	if lines := explained(t, app, o); len(lines) > 0 {
		t.Errorf("unchanged: %q", lines)
	}
	push("two")
	lines := explained(t, app, o)
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "changed: FROM "+base+": image changed (") || !containsAll(lines[0], pins[0][:40], " -> ", pins[1][:40]) ||
		!slices.Equal(lines[1:], []string{"below: FILE /f: stands on FROM " + base + ", which changed", "below: MKDIR /d: stands on FROM " + base + ", which changed"}) {
		t.Errorf("after %q became %q: %q", pins[0], pins[1], lines)
	}
}

func containsAll(s string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(s, p) })
}

// TestExplainElsewhere: a machine that only has what others exported does not say that a step was never built.
func TestExplainElsewhere(t *testing.T) {
	shared := cache.NewMemory()
	app := func(text string) stage.Stage { return stage.Scratch(stage.As("app")).File("/f", text).Mkdir("/d") }
	res, err := stagewright.Build(t.Context(), app("one"), stagewright.Options{Store: cache.NewMemory(), CacheTo: []stagewright.CacheExport{{Store: shared}}})
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	const where = " with this cache; what was built elsewhere is not known, an exported cache has results and no history"
	for _, c := range []struct {
		what string
		from []cache.Store
		text string
		want []string
	}{
		{"exported", []cache.Store{shared}, "one", nil},
		{"edited", []cache.Store{shared}, "two", []string{"first: FILE /f: never built before" + where, "first: MKDIR /d: never built before" + where}},
		{"alone", nil, "two", []string{"first: FILE /f: never built before", "first: MKDIR /d: never built before"}},
	} {
		if got := explained(t, app(c.text), stagewright.Options{Store: cache.NewMemory(), CacheFrom: c.from}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}
