package local_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// explanations are the steps with a cause, one a line.
func explanations(list []stage.Explanation) []string {
	lines := []string{}
	for _, x := range list {
		if x.Cause != "" {
			text := strings.Replace(x.Step.Text, "RUN /bin/sh -c ", "RUN ", 1)
			lines = append(lines, strings.ReplaceAll(fmt.Sprintf("%s %s: %s: %s", x.Status, x.Cause, text, x), "RUN /bin/sh -c ", "RUN "))
		}
	}
	return lines
}

func explain(tb testing.TB, e stage.Executor, g *stage.Graph, r stage.Request) []stage.Explanation {
	tb.Helper()
	list, err := stage.Explain(tb.Context(), e, g, r)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

func sameLines(tb testing.TB, what string, got []string, want ...string) {
	tb.Helper()
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		tb.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// unknown ends an explanation of a step that may be there all the same.
const unknown = "; whether the cache has the result all the same, is known when that ran"

// What an edit of a stage changes is told of each step, compared with the nearest step that was
// built before; nothing is told of what is in the cache.
func TestExplain(t *testing.T) {
	hello := func(s stage.Stage) stage.Stage { return s.File("/hello", "x") }
	files := stage.FS(fstest.MapFS{"a": {Data: []byte("a")}, "d/b": {Data: []byte("b")}})
	double := func(version string) func(stage.Stage) stage.Stage {
		return func(s stage.Stage) stage.Stage {
			return s.Func("double", version, func(context.Context, fs.FS, stage.Writer) error { return nil })
		}
	}
	for _, c := range []struct {
		name     string
		was, now func(stage.Stage) stage.Stage
		want     []string
	}{
		{"the same", hello, hello, nil},
		{
			"a file's content", hello, func(s stage.Stage) stage.Stage { return s.File("/hello", "y") },
			[]string{"run changed: FILE /hello: content changed (x -> y)"},
		},
		{
			"a step above it", func(s stage.Stage) stage.Stage { return hello(s).Mkdir("/d") },
			func(s stage.Stage) stage.Stage { return s.File("/hello", "y").Mkdir("/d") },
			[]string{"run changed: FILE /hello: content changed (x -> y)", "run below: MKDIR /d: stands on FILE /hello, which changed"},
		},
		{
			"both", func(s stage.Stage) stage.Stage { return hello(s).Mkdir("/d") },
			func(s stage.Stage) stage.Stage { return s.File("/hello", "y").Mkdir("/d", stage.Mode(0o700)) },
			[]string{"run changed: FILE /hello: content changed (x -> y)", "run changed: MKDIR /d: mode changed (0755 -> 0700), and 1 more"},
		},
		{
			"one inserted", func(s stage.Stage) stage.Stage { return hello(s).Mkdir("/d").Symlink("/d", "/l") },
			func(s stage.Stage) stage.Stage { return hello(s).File("/new", "x").Mkdir("/d").Symlink("/d", "/l") },
			[]string{"run first: FILE /new: never built before", "run below: MKDIR /d: stands on FILE /new, which is new", "run below: SYMLINK /d /l: stands on FILE /new, which is new"},
		},
		{
			"one removed", func(s stage.Stage) stage.Stage { return hello(s).Mkdir("/d").Symlink("/d", "/l") },
			func(s stage.Stage) stage.Stage { return hello(s).Symlink("/d", "/l") },
			[]string{"run below: SYMLINK /d /l: stands on FILE /hello, earlier on MKDIR /d"},
		},
		{
			"two reordered", func(s stage.Stage) stage.Stage { return hello(s).Mkdir("/d").File("/f", "x") },
			func(s stage.Stage) stage.Stage { return hello(s).File("/f", "x").Mkdir("/d") },
			[]string{"run below: FILE /f: stands on FILE /hello, earlier on MKDIR /d", "run below: MKDIR /d: stands on FILE /f, which changed"},
		},
		{
			"a copy's options", func(s stage.Stage) stage.Stage { return s.CopyFrom(files, "a", "/x/") },
			func(s stage.Stage) stage.Stage {
				return s.CopyFrom(files, "a", "/x/", stage.Chmod("0600"), stage.Chown("1:2"))
			},
			[]string{`run changed: COPY --from=fs --chown=1:2 --chmod=0600 a /x/: owner changed ("" -> 1:2), and 1 more`},
		},
		{
			"a function's version", double("1"), double("2"),
			[]string{"run changed: FUNC double 2: version changed (1 -> 2)"},
		},
		{
			"a buster", func(s stage.Stage) stage.Stage { return s.CopyFrom(files, "a", "/x/") },
			func(s stage.Stage) stage.Stage { return s.CopyFrom(files, "a", "/x/", stage.CacheKey("7")) },
			[]string{"run changed: COPY --from=fs a /x/: cache key added (7)"},
		},
		{
			"a stage that is copied from", func(s stage.Stage) stage.Stage {
				return s.CopyFrom(stage.Scratch(stage.As("from")).File("/f", "1"), "/f", "/f")
			},
			func(s stage.Stage) stage.Stage {
				return s.CopyFrom(stage.Scratch(stage.As("from")).File("/f", "2"), "/f", "/f")
			},
			[]string{"run changed: FILE /f: content changed (1 -> 2)", "run below: COPY --from=from /f /f: reads FILE /f, which changed"},
		},
		{
			"a copy that is independent", func(s stage.Stage) stage.Stage { return hello(s).CopyFrom(files, "a", "/x/", stage.Link()).Mkdir("/d") },
			func(s stage.Stage) stage.Stage {
				return s.File("/hello", "y").CopyFrom(files, "a", "/x/", stage.Link()).Mkdir("/d")
			},
			[]string{"run changed: FILE /hello: content changed (x -> y)", "run below: MKDIR /d: stands on FILE /hello, which changed"},
		},
		{
			"a merge", func(s stage.Stage) stage.Stage { return s.Merge(stage.Scratch(stage.As("from")).File("/f", "1")) },
			func(s stage.Stage) stage.Stage { return s.Merge(stage.Scratch(stage.As("from")).File("/f", "2")) },
			[]string{"run changed: FILE /f: content changed (1 -> 2)", "run below: MERGE from: reads FILE /f, which changed"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := memory(t, local.Options{})
			from := stage.Scratch(stage.As("app"))
			build(t, e, c.was(from), stage.Request{})
			sameLines(t, "explained", explanations(explain(t, e, compile(t, c.now(from)), stage.Request{})), c.want...)
			// In another stage, what did the same is found all the same.
			if len(c.want) == 1 && strings.HasPrefix(c.want[0], "run changed") {
				renamed := stage.Scratch(stage.As("renamed"))
				sameLines(t, "renamed", explanations(explain(t, e, compile(t, c.now(renamed)), stage.Request{})), c.want...)
			}
		})
	}
}

// A finished build tells the same, compared with the builds before it.
func TestExplainResult(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	dir := layout(t, "a = 1", "b = 1")
	request := stage.Request{Context: stage.Dir(dir)}
	app := func(foo string) stage.Stage {
		return stage.From(base, stage.As("app")).Env("FOO", foo).Run("echo > /f").Copy(".", "/app/").Run("cat /app/b > /b").Mkdir("/d")
	}
	told := func(what string, s stage.Stage, r stage.Request, want ...string) {
		t.Helper()
		before := explanations(explain(t, e, compile(t, s), r))
		for i, line := range before {
			line, _, _ = strings.Cut(line, unknown)
			if strings.HasPrefix(line, " ") {
				line = "run" + line
			}
			before[i] = line
		}
		sameLines(t, what+", before", before, want...)
		list, err := stage.ExplainResult(t.Context(), build(t, e, s, r))
		if err != nil {
			t.Fatal(err)
		}
		sameLines(t, what+", afterwards", explanations(list), want...)
	}
	build(t, e, app("1"), request)
	told("unchanged", app("1"), request)
	writeFile(t, dir, "b", "2")
	told("a file", app("1"), request,
		"run changed: COPY . /app/: b: content",
		"run below: RUN cat /app/b > /b: stands on COPY . /app/, which changed",
		"run below: MKDIR /d: stands on COPY . /app/, which changed")
	told("a variable", app("2"), request,
		"run changed: RUN echo > /f: ENV FOO changed (1 -> 2)",
		"run below: COPY . /app/: stands on RUN echo > /f, which changed",
		"run changed: RUN cat /app/b > /b: ENV FOO changed (1 -> 2), and 1 more",
		"run below: MKDIR /d: stands on RUN cat /app/b > /b, which changed")
	res := build(t, e, app("1"), request)
	res.Close()
	if _, err := stage.ExplainResult(t.Context(), res); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("of a closed result: %v", err)
	}
}

// Of a copy the files are named that differ, by their names in the source.
func TestExplainFiles(t *testing.T) {
	many := make([]string, 30)
	for i := range many {
		many[i] = fmt.Sprintf("m/%02d = 1", i)
	}
	lines := func(list ...string) []string { return list }
	for _, c := range []struct {
		name     string
		was, now []string
		copy     func(stage.Stage) stage.Stage
		want     string
	}{
		{"content", lines("web/app.js = 1", "b = 1"), lines("web/app.js = 2", "b = 1"), nil, "COPY . /app/: web/app.js: content"},
		{"added", lines("a = 1"), lines("a = 1", "web/b = 1"), nil, "COPY . /app/: web/: added"},
		{"removed", lines("a = 1", "b = 1"), lines("a = 1"), nil, "COPY . /app/: b: removed"},
		{"link", lines("a = 1", "l -> a"), lines("a = 1", "l -> b"), nil, "COPY . /app/: l: target (a -> b)"},
		{"kind", lines("a = 1", "l -> a"), lines("a = 1", "l = 1"), nil, "COPY . /app/: l: kind (symlink -> file)"},
		{"mode", lines("a = 1"), lines("0755 a = 1"), nil, "COPY . /app/: a: mode (0644 -> 0755)"},
		{"many", lines(many...), lines(strings.Split(strings.ReplaceAll(strings.Join(many, "\n"), "1\n", "2\n"), "\n")...), nil, "COPY . /app/: m/00: content, and 28 more"},
		{
			"one file to a name", lines("a = 1"), lines("a = 2"),
			func(s stage.Stage) stage.Stage { return s.Copy(stage.Files("a"), "/etc/x") }, "COPY a /etc/x: a: content",
		},
		{
			"a directory below another name", lines("src/x/y = 1"), lines("src/x/y = 2"),
			func(s stage.Stage) stage.Stage { return s.Copy("src", "/usr/src") }, "COPY src /usr/src: src/x/y: content",
		},
		{
			"a pattern", lines("a.go = 1", "b.go = 1"), lines("a.go = 1", "b.go = 2", "c.go = 1"),
			func(s stage.Stage) stage.Stage { return s.Copy("*.go", "/src/") }, "COPY *.go /src/: b.go: content, and 1 more",
		},
		{
			"kept directories", lines("a/b/x = 1"), lines("a/b/x = 2"),
			func(s stage.Stage) stage.Stage { return s.Copy(stage.Files("a/*/x"), "/d/", stage.Parents()) }, "COPY --parents a/*/x /d/: a/b/x: content",
		},
		{
			"on files that are there", lines("a = 1", "b = 1"), lines("a = 1", "b = 2"),
			func(s stage.Stage) stage.Stage { return s.Copy(stage.Files("a"), "/app/").Copy(".", "/app/") }, "COPY . /app/: b: content",
		},
		{
			"over a link", lines("a = 1"), lines("a = 2"),
			func(s stage.Stage) stage.Stage { return s.Mkdir("/real").Symlink("real", "/app").Copy(".", "/app/") }, "COPY . /app/: a: content",
		},
		{
			"owned by number", lines("a = 1"), lines("a = 2"),
			func(s stage.Stage) stage.Stage { return s.Copy(".", "/app/", stage.Chown("7:8")) }, "COPY --chown=7:8 . /app/: a: content",
		},
		{
			"in the words of Dockerfiles", lines("a = 1"), lines("a = 2"),
			nil, "COPY . /app/: a: content",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := memory(t, local.Options{})
			from := stage.Scratch(stage.As("app"))
			if strings.Contains(c.name, "Dockerfiles") {
				from = stage.Scratch(stage.As("app"), stage.Compatible(stage.DockerRules{}))
			}
			if c.copy == nil {
				c.copy = func(s stage.Stage) stage.Stage { return s.Copy(".", "/app/") }
			}
			s := c.copy(from)
			build(t, e, s, stage.Request{Context: stage.Dir(layout(t, c.was...))})
			list := explain(t, e, compile(t, s), stage.Request{Context: stage.Dir(layout(t, c.now...))})
			sameLines(t, "explained", explanations(list), "run changed: "+c.want)
		})
	}
}

// Below a step that has to run, files are compared all the same: those that a copy further below
// put are no news.
func TestExplainFilesAboveRun(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	dir := layout(t, "go.mod = 1", "main.go = 1")
	request := stage.Request{Context: stage.Dir(dir)}
	app := stage.From(base, stage.As("app")).Copy(stage.Files("go.mod"), "/app/").Run("cat /app/go.mod > /modules").Copy(".", "/app/").Run("cat /app/main.go > /main")
	g := compile(t, app)
	build(t, e, app, request)
	sameLines(t, "unchanged", explanations(explain(t, e, g, request)))
	writeFile(t, dir, "main.go", "2")
	sameLines(t, "main.go", explanations(explain(t, e, g, request)),
		"run changed: COPY . /app/: main.go: content",
		"run below: RUN cat /app/main.go > /main: stands on COPY . /app/, which changed")
	writeFile(t, dir, "go.mod", "2")
	sameLines(t, "both", explanations(explain(t, e, g, request)),
		"run changed: COPY go.mod /app/: go.mod: content",
		"run below: RUN cat /app/go.mod > /modules: stands on COPY go.mod /app/, which changed",
		"run changed: COPY . /app/: main.go: content, and 1 more",
		" below: RUN cat /app/main.go > /main: stands on COPY . /app/, which changed"+unknown)
}

func writeFile(tb testing.TB, dir, name, content string) {
	tb.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// What a Run sees of its variables, options and mounts is told apart.
func TestExplainRun(t *testing.T) {
	base := shell(t)
	version := arg.New("VERSION", arg.Default("1"))
	was, now := layout(t, "d/f = 1", "d/g = 1"), layout(t, "d/f = 1", "d/g = 2")
	run := func(o ...stage.RunOption) func(stage.Stage) stage.Stage {
		return func(s stage.Stage) stage.Stage { return s.Run("true", o...) }
	}
	for _, c := range []struct {
		name     string
		was, now func(stage.Stage) stage.Stage
		args     arg.Values
		want     string
	}{
		{
			name: "variable", was: func(s stage.Stage) stage.Stage { return run()(s.Env("FOO", "1").Env("BAR", "1")) },
			now: func(s stage.Stage) stage.Stage { return run()(s.Env("FOO", "2").Env("BAR", "1")) }, want: "ENV FOO changed (1 -> 2)",
		},
		{
			name: "variables", was: func(s stage.Stage) stage.Stage { return run()(s.Env("FOO", "1")) },
			now: func(s stage.Stage) stage.Stage { return run()(s.Env("BAR", "a b")) }, want: "ENV BAR added (a b), and 1 more",
		},
		{
			name: "order", was: func(s stage.Stage) stage.Stage { return run()(s.Env("FOO", "1").Env("BAR", "1")) },
			now: func(s stage.Stage) stage.Stage { return run()(s.Env("BAR", "1").Env("FOO", "1")) }, want: "ENV BAR, order changed",
		},
		{
			name: "argument", was: func(s stage.Stage) stage.Stage { return run()(s.Arg(version)) },
			now: func(s stage.Stage) stage.Stage { return run()(s.Arg(version)) }, args: arg.Values{"VERSION": "2"}, want: "ARG VERSION changed (1 -> 2)",
		},
		{name: "command", was: run(), now: func(s stage.Stage) stage.Stage { return s.Run("true # 2") }, want: "command changed (true -> true # 2)"},
		{name: "network", was: run(), now: run(stage.WithNetwork(stage.NetworkNone)), want: `network changed ("" -> none)`},
		{
			name: "user and directory", was: func(s stage.Stage) stage.Stage { return run()(s.User("0")) },
			now: func(s stage.Stage) stage.Stage { return run()(s.User("root")) }, want: "user changed (0 -> root)",
		},
		{name: "mount added", was: run(), now: run(stage.CacheMount("/c")), want: "mount /c added (cache)"},
		{name: "mount removed", was: run(stage.TmpfsMount("/t", 1<<20)), now: run(), want: "mount /t removed (tmpfs)"},
		{name: "mount changed", was: run(stage.CacheMount("/c")), now: run(stage.CacheMount("/c", stage.ID("other"))), want: "mount /c, id changed (/c -> other)"},
		{
			name: "mounted directory", was: run(stage.BindMount(stage.Dir(was), ".", "/m")),
			now: run(stage.BindMount(stage.Dir(now), ".", "/m")), want: "d/g: content",
		},
		{
			name: "mounted file", was: run(stage.BindMount(stage.Dir(was), "d/g", "/m")),
			now: run(stage.BindMount(stage.Dir(now), "d/g", "/m")), want: "d/g: content",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := executor(t, t.TempDir(), local.Options{})
			from := stage.From(base, stage.As("app"))
			build(t, e, c.was(from), stage.Request{})
			g, err := stage.Compile(t.Context(), []stage.Stage{c.now(from)}, stage.Options{Args: c.args})
			if err != nil {
				t.Fatal(err)
			}
			list := explain(t, e, g, stage.Request{})
			var got []string
			for _, x := range list {
				if x.Cause != "" {
					got = append(got, fmt.Sprint(x.Status, " ", x.Cause, " ", x))
				}
			}
			sameLines(t, "explained", got, "run changed "+c.want)
		})
	}
}

// A step that finds its result by what it sees is a hit, whatever its recipe says.
func TestExplainCutOff(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	app := func(text string) stage.Stage {
		return stage.From(base, stage.As("app")).Run("echo 1 > /f # " + text).Run("cat /f > /g")
	}
	build(t, e, app("a"), stage.Request{})
	sameLines(t, "before it ran", explanations(explain(t, e, compile(t, app("b")), stage.Request{})),
		"run changed: RUN echo 1 > /f # b: command changed (echo 1 > /f # a -> echo 1 > /f # b)",
		" below: RUN cat /f > /g: stands on RUN echo 1 > /f # b, which changed"+unknown)
	res := build(t, e, app("b"), stage.Request{})
	if ran := res.Report().Ran(); ran != 1 {
		t.Errorf("%d steps ran", ran)
	}
	sameLines(t, "afterwards", explanations(explain(t, e, compile(t, app("b")), stage.Request{})))
}

// Options of the build that change steps or layers are named.
func TestExplainOptions(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	app := stage.From(base, stage.As("app")).Run("echo > /f")
	build(t, executor(t, dir, local.Options{}), app, stage.Request{})
	g := compile(t, app)
	lines := explanations(explain(t, executor(t, dir, local.Options{Epoch: time.Unix(86400, 0)}), g, stage.Request{}))
	if len(lines) != 2 || !strings.Contains(lines[1], "epoch changed (1970-01-01T00:00:00Z -> 1970-01-02T00:00:00Z)") {
		t.Errorf("another epoch: %q", lines)
	}
	sameLines(t, "another compression", explanations(explain(t, executor(t, dir, local.Options{Compression: image.Compression{Format: image.Zstd}}), g, stage.Request{})),
		"hit layers: RUN echo > /f: compression changed (gzip level 6 -> zstd level 3)")
	lines = explanations(explain(t, executor(t, dir, local.Options{}), g, stage.Request{NoCache: true}))
	sameLines(t, "no cache", lines[1:], "run bypassed: RUN echo > /f: built without the cache (no-cache)")

	old := app.Run("date > /date", stage.MaxAge(time.Nanosecond))
	build(t, executor(t, dir, local.Options{}), old, stage.Request{})
	lines = explanations(explain(t, executor(t, dir, local.Options{}), compile(t, old), stage.Request{}))
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "run expired: RUN date > /date: its result of 2") {
		t.Errorf("too old: %q", lines)
	}

	other, err := stage.Compile(t.Context(), []stage.Stage{app}, stage.Options{Platforms: platform.MustParseSet("linux/riscv64")})
	if err != nil {
		t.Fatal(err)
	}
	lines = explanations(explain(t, executor(t, dir, local.Options{}), other, stage.Request{}))
	if len(lines) != 1 || !strings.Contains(lines[0], "platform changed (linux/") {
		t.Errorf("another platform: %q", lines)
	}
}
