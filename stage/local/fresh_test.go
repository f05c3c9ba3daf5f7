package local_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// counter makes function steps that tell how often they are called. What they write is
// the same each time, unless the test says otherwise.
type counter struct {
	mu    sync.Mutex // of calls; steps run side by side
	calls map[string]int
	write map[string]string // instead of the name
}

func newCounter() *counter { return &counter{calls: map[string]int{}, write: map[string]string{}} }

func (c *counter) step(name string, opts ...stage.CacheOption) func(stage.Stage) stage.Stage {
	return func(s stage.Stage) stage.Stage {
		return s.Func(name, "1", func(_ context.Context, _ fs.FS, out stage.Writer) error {
			c.mu.Lock()
			c.calls[name]++
			c.mu.Unlock()
			text := name
			if other := c.write[name]; other != "" {
				text = other
			}
			return out.WriteFile("/"+name, 0o644, strings.NewReader(text))
		}, opts...)
	}
}

// ran returns how often each step was called since the last time, "a b b".
func (c *counter) ran() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for name, n := range c.calls {
		list = append(list, slices.Repeat([]string{name}, n)...)
	}
	slices.Sort(list)
	clear(c.calls)
	return strings.Join(list, " ")
}

// Each way to bypass the cache makes anew what it names, and nothing that stands on it when
// that came out the same.
func TestBypass(t *testing.T) {
	c := newCounter()
	made := func(opts ...stage.CacheOption) stage.Stage {
		base := stage.Scratch(stage.As("base")).With(c.step("a"))
		tools := stage.Scratch(stage.As("Tools")).With(c.step("t"))
		return stage.From(base, stage.As("app")).With(c.step("b", opts...)).CopyFrom(tools, "/t", "/in").With(c.step("c"))
	}
	for _, test := range []struct {
		name string
		opts []stage.CacheOption
		r    stage.Request
		want string
	}{
		{"nothing", nil, stage.Request{}, ""},
		{"all", nil, stage.Request{NoCache: true}, "a b c t"},
		{"a stage", nil, stage.Request{NoCacheStages: []string{"tools"}}, "t"},
		{"the stage of the target", nil, stage.Request{NoCacheStages: []string{"app"}}, "b c"},
		{"two stages", nil, stage.Request{NoCacheStages: []string{"base", "Tools"}}, "a t"},
		{"a step", []stage.CacheOption{stage.NoCache()}, stage.Request{}, "b"},
		{"a step that is too old", []stage.CacheOption{stage.MaxAge(1)}, stage.Request{}, "b"},
		{"a step that is young", []stage.CacheOption{stage.MaxAge(time.Hour)}, stage.Request{}, ""},
		{"another key", []stage.CacheOption{stage.CacheKey("2")}, stage.Request{}, "b"},
		{"the key before", []stage.CacheOption{stage.CacheKey("2")}, stage.Request{}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := memory(t, local.Options{})
			want := digest(t, build(t, e, made(), stage.Request{}))
			if test.name == "the key before" {
				build(t, e, made(test.opts...), stage.Request{})
			}
			c.ran()
			s := made(test.opts...)
			wantPlan := []string{}
			plan, err := stage.Plan(t.Context(), e, compile(t, s), test.r)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range plan {
				if p.Status == stage.Ran && p.Step.Kind() == "func" {
					wantPlan = append(wantPlan, strings.Fields(p.Step.Text)[1])
				}
			}
			for i := range 2 { // bypassed again, whatever the first made
				if got := digest(t, build(t, e, s, test.r)); got != want {
					t.Errorf("digest %s, want %s", got, want)
				}
				want := test.want
				if i > 0 && test.name == "another key" {
					want = "" // it is a step like any other by now
				}
				if got := c.ran(); got != want {
					t.Errorf("called: %q, want %q", got, want)
				}
				for _, name := range wantPlan {
					if !strings.Contains(test.want, name) {
						t.Errorf("the plan runs %s", name)
					}
				}
			}
			if got := digest(t, build(t, e, made(), stage.Request{})); got != want || c.ran() != "" {
				t.Errorf("a build as usual after it: %s, want %s and nothing called", got, want)
			}
		})
	}
}

// What a bypassed step makes is what later builds find, and what stands on it sees that it
// changed.
func TestBypassedResultIsKept(t *testing.T) {
	c := newCounter()
	base := stage.Scratch(stage.As("base")).With(c.step("a"))
	app := stage.From(base, stage.As("app")).With(c.step("b"))
	e := memory(t, local.Options{})
	before := digest(t, build(t, e, app, stage.Request{}))
	c.ran()
	c.write["a"] = "new"
	after := digest(t, build(t, e, app, stage.Request{NoCacheStages: []string{"base"}}))
	if got := c.ran(); got != "a b" || before == after {
		t.Errorf("called %q; digest %s and then %s", got, before, after)
	}
	if got := digest(t, build(t, e, app, stage.Request{})); got != after || c.ran() != "" {
		t.Errorf("the build after it has %s, want %s from the cache", got, after)
	}
}

// The age of a result counts from when the step ran, whoever used it since, under whatever
// key, and of an image from its oldest step with a limit.
func TestAgeCountsFromTheRun(t *testing.T) {
	c := newCounter()
	e := memory(t, local.Options{})
	aged := func(text string, limit time.Duration) stage.Stage {
		return stage.Scratch().File("/f", text).File("/f", "same").With(c.step("a", stage.MaxAge(limit)))
	}
	build(t, e, aged("1", 0), stage.Request{})
	ran := time.Now()
	build(t, e, aged("2", 0), stage.Request{}) // found by what it sees, kept under another recipe
	build(t, e, aged("2", time.Hour), stage.Request{})
	if got := c.ran(); got != "a" {
		t.Fatalf("called %q, want once", got)
	}
	build(t, e, aged("2", time.Since(ran)), stage.Request{})
	if got := c.ran(); got != "a" {
		t.Errorf("called %q: the age was counted from when the result was used", got)
	}

	// Another image has had the step run again: the record of the first one's layers is older.
	limited := c.step("l", stage.MaxAge(time.Hour))
	one, two := stage.Scratch().With(limited).File("/one", ""), stage.Scratch().With(limited).File("/two", "")
	build(t, e, one, stage.Request{})
	c.write["l"] = "new"
	build(t, e, two, stage.Request{NoCache: true})
	c.ran()
	ran = time.Now()
	res := build(t, e, stage.Scratch().With(c.step("l", stage.MaxAge(time.Since(ran)+time.Hour))).File("/one", ""), stage.Request{})
	if got := c.ran(); got != "" {
		t.Errorf("called %q", got)
	}
	files, err := res.Files(lastStep(res))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := fs.ReadFile(files, "l"); err != nil || string(text) != "new" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

func lastStep(res stage.Result) int { return res.Outputs()[0].Target.Step }

func TestBypassMistakes(t *testing.T) {
	app := stage.Scratch(stage.As("builder")).File("/f", "")
	e := memory(t, local.Options{})
	_, err := e.Execute(t.Context(), compile(t, app), stage.Request{NoCacheStages: []string{"bulider"}})
	if !errors.Is(err, stage.ErrUnknownStage) || !strings.Contains(fmt.Sprint(err), "did you mean builder?") {
		t.Errorf("an unknown stage: %v", err)
	}
	_, err = stage.Compile(t.Context(), []stage.Stage{stage.Scratch().Run("x", stage.MaxAge(-time.Second))}, stage.Options{})
	if err == nil || !strings.Contains(err.Error(), "MaxAge(-1s)") {
		t.Errorf("a negative age: %v", err)
	}
}
