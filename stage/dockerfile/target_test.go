package dockerfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

func parse(t *testing.T, text string, o dockerfile.Options) *dockerfile.File {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", []byte(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// stepTexts are the steps of a target, in the order of the graph.
func stepTexts(t *testing.T, f *dockerfile.File, target string, args arg.Values) []string {
	t.Helper()
	s, err := f.Target(target)
	if n, e := strconv.Atoi(target); e == nil {
		s, err = f.Numbered(n)
	}
	if err != nil {
		t.Fatal(err)
	}
	g, err := stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{Args: args, OnBuild: f.OnBuild})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, step := range g.Steps() {
		line := fmt.Sprintf("%d %s", step.Pos().Line, step.Text)
		if c, ok := step.Op.(*stage.CopyOp); ok && len(step.Inputs) == 0 {
			line += " of " + c.From.String()
		}
		lines = append(lines, line)
	}
	return lines
}

func TestTargets(t *testing.T) {
	f := parse(t, "FROM scratch AS one\nENV A=1\nFROM one\nENV B=2\nFROM scratch AS ONE\nENV C=3\nFROM one AS last\nENV D=4\n", dockerfile.Options{})
	if diff := cmp.Diff([]string{"one", "1", "one", "last"}, f.Stages()); diff != "" {
		t.Error(diff)
	}
	for target, want := range map[string][]string{
		"":     {"5 FROM scratch", "6 ENV C=3", "8 ENV D=4"},
		"LAST": {"5 FROM scratch", "6 ENV C=3", "8 ENV D=4"},
		"3":    {"5 FROM scratch", "6 ENV C=3", "8 ENV D=4"},
		"one":  {"5 FROM scratch", "6 ENV C=3"},
		"0":    {"1 FROM scratch", "2 ENV A=1"},
		"1":    {"1 FROM scratch", "2 ENV A=1", "4 ENV B=2"},
	} {
		if diff := cmp.Diff(want, stepTexts(t, f, target, nil)); diff != "" {
			t.Errorf("target %q (-want +got):\n%s", target, diff)
		}
	}
	_, err := f.Target("lsat")
	var unknown *dockerfile.UnknownError
	if !errors.As(err, &unknown) || unknown.Near != "last" || !slices.Equal(unknown.Known, []string{"one", "one", "last"}) {
		t.Errorf("unknown target: %v, %+v", err, unknown)
	}
	if _, err = f.Target("0"); !errors.As(err, &unknown) {
		t.Errorf("a number is a target: %v", err)
	}
	for _, n := range []int{-1, 4} {
		if _, err = f.Numbered(n); !errors.As(err, &unknown) {
			t.Errorf("stage %d: %v", n, err)
		}
	}
}

// TestSameValues: stages that several callers ask for are the same values, so that they are
// one stage in a graph of several targets.
func TestSameValues(t *testing.T) {
	f := parse(t, "FROM scratch AS base\nENV A=1\nFROM base AS app\nENV B=2\n", dockerfile.Options{})
	var wg sync.WaitGroup
	values := make([]stage.Stage, 8)
	for i := range values {
		wg.Go(func() {
			s, err := f.Target("")
			if err != nil {
				t.Error(err)
			}
			values[i] = s
			f.Warnings()
		})
	}
	wg.Wait()
	for _, v := range values {
		if v != values[0] {
			t.Error("two values of one stage")
		}
	}
}

func TestNamedContexts(t *testing.T) {
	o := dockerfile.Options{
		Contexts: map[string]stage.Source{
			"src":     stage.Dir("/src"),
			"files":   stage.FS(fstest.MapFS{}),
			"replace": stage.Dir("/replaced"),
			"repo":    stage.Git("https://example.com/lib.git#v1"),
		},
		ContextRefs: map[string]string{
			"alpine:latest": "docker-image://mirror/alpine:1",
			"layout":        "oci-layout:///dir",
			"nothing":       "docker-image://scratch",
		},
	}
	for _, c := range []struct{ name, text, want string }{
		{"copy", "FROM scratch\nCOPY --from=src a b", "1 FROM scratch; 2 COPY --from=/src a b of directory /src"},
		{"copy from an image's name", "FROM scratch\nCOPY --from=alpine a b", "1 FROM scratch; 2 FROM mirror/alpine:1; 2 COPY --from=mirror/alpine:1 a b"},
		{"copy from a repository", "FROM scratch\nCOPY --from=repo a b", "1 FROM scratch; 2 COPY --from=git repository https://example.com/lib.git#v1 a b of git repository https://example.com/lib.git#v1"},
		{"from files", "FROM src\nENV A=1", "1 FROM scratch; 1 COPY --from=/src / / of directory /src; 2 ENV A=1"},
		{"from an image", "FROM docker.io/library/alpine\nENV A=1", "1 FROM mirror/alpine:1; 2 ENV A=1"},
		{"from a layout", "FROM layout\nENV A=1", "1 FROM oci-layout:///dir; 2 ENV A=1"},
		{"from nothing", "FROM nothing\nENV A=1", "1 FROM scratch; 2 ENV A=1"},
		{"by a variable", "ARG B=alpine\nFROM ${B}\nENV A=1", "2 FROM mirror/alpine:1; 3 ENV A=1"},
		{"a stage is replaced", "FROM golang AS replace\nRUN make\nFROM scratch\nCOPY --from=replace a b", "3 FROM scratch; 1 FROM scratch; 1 COPY --from=/replaced / / of directory /replaced; 4 COPY --from=replace a b"},
		{"a context replaces a stage, also by number", "FROM scratch AS src\nENV A=1\nFROM scratch\nCOPY --from=0 a b", "3 FROM scratch; 1 FROM scratch; 1 COPY --from=/src / / of directory /src; 4 COPY --from=src a b"},
		{"not used", "FROM busybox\nENV A=1", "1 FROM busybox; 2 ENV A=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := parse(t, c.text, o)
			if got := strings.Join(stepTexts(t, f, "", nil), "; "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	for _, bad := range []dockerfile.Options{
		{Contexts: map[string]stage.Source{"context": stage.Dir(".")}},
		{Contexts: map[string]stage.Source{"Scratch": stage.Dir(".")}},
		{Contexts: map[string]stage.Source{"a": nil}},
		{ContextRefs: map[string]string{"a": "docker-image://"}},
		{ContextRefs: map[string]string{"a": "b", "docker.io/library/a": "c"}},
		{ContextRefs: map[string]string{"a": "b"}, Contexts: map[string]stage.Source{"a": stage.Dir(".")}},
	} {
		if _, err := dockerfile.Parse("Dockerfile", []byte("FROM scratch\n"), bad); err == nil {
			t.Errorf("no error for %+v", bad)
		}
	}
}

// TestPositions: byte order marks, carriage returns, continuations and here-documents move no
// position.
func TestPositions(t *testing.T) {
	text := "\xef\xbb\xbf# escape=\\\r\nfrom scratch as x\r\n  env a=1 \\\r\n   # comment\r\n   b=2\r\n\r\ncopy <<e /f\r\n$a\r\ne\r\n\tuser u\r\n"
	f := parse(t, text, dockerfile.Options{})
	s, err := f.Target("")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	p := s.Parts()
	got = append(got, p.Pos.String())
	for _, op := range p.Ops {
		got = append(got, op.Pos.String())
	}
	if diff := cmp.Diff([]string{"Dockerfile:2:1", "Dockerfile:3:3", "Dockerfile:7:1", "Dockerfile:10:2"}, got); diff != "" {
		t.Error(diff)
	}
	if content := string(p.Ops[1].Op.(*stage.CopyOp).Inline[0].Content); content != "$a\r\n" {
		t.Errorf("content %q", content)
	}
}

func TestTriggersThatCannotRun(t *testing.T) {
	for _, trigger := range []string{"FROM x", "ONBUILD RUN x", "MAINTAINER x", "FOO", "", "RUN a\nRUN b", "COPY --from=1 a", "RUN --device=x y"} {
		_, err := dockerfile.OnBuild([]string{"ENV A=1", trigger}, stage.Scratch(stage.As("app"), stage.WrittenAt(stage.Position{File: "Dockerfile", Line: 3})))
		var list stage.Errors
		if !errors.As(err, &list) || list[0].Pos.Line != 3 {
			t.Errorf("%q: %v", trigger, err)
		}
	}
}

func TestArgs(t *testing.T) {
	f := parse(t, "# VERSION of the base\nARG VERSION=3\nARG NONE\nFROM a:${VERSION} AS b\nARG VERSION X=\"y z\"\n", dockerfile.Options{})
	want := []dockerfile.Argument{
		{Name: "VERSION", Default: "3", HasDefault: true, Doc: "of the base", Pos: stage.Position{File: "Dockerfile", Line: 2, Column: 1}},
		{Name: "NONE", Pos: stage.Position{File: "Dockerfile", Line: 3, Column: 1}},
		{Name: "VERSION", Stage: "b", Pos: stage.Position{File: "Dockerfile", Line: 5, Column: 1}},
		{Name: "X", Default: `"y z"`, HasDefault: true, Stage: "b", Pos: stage.Position{File: "Dockerfile", Line: 5, Column: 1}},
	}
	if diff := cmp.Diff(want, f.Args()); diff != "" {
		t.Error(diff)
	}
	if err := f.CheckArgs(arg.Values{"X": "", "http_proxy": "", "TARGETARCH": "", "BUILDKIT_INLINE_CACHE": "1"}); err != nil {
		t.Error(err)
	}
	trigger := parse(t, "FROM a AS b\nONBUILD ARG MODE LEVEL=1\nONBUILD ENV MODE=$MODE\nFROM b\n", dockerfile.Options{})
	if err := trigger.CheckArgs(arg.Values{"MODE": "x", "LEVEL": "2"}); err != nil {
		t.Error(err)
	}
	var unknown *dockerfile.UnknownError
	if err := f.CheckArgs(arg.Values{"VERSON": "1"}); !errors.As(err, &unknown) || unknown.Near != "VERSION" {
		t.Errorf("%v", err)
	}
}

func TestContext(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, name := range []string{filepath.Join(dir, "prod.Dockerfile.dockerignore"), filepath.Join(other, "Dockerfile.dockerignore")} {
		if err := os.WriteFile(name, []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"":                                     "",
		filepath.Join(dir, "Dockerfile"):       "",
		filepath.Join(dir, "prod.Dockerfile"):  "prod.Dockerfile.dockerignore",
		filepath.Join(other, "Dockerfile"):     filepath.Join(other, "Dockerfile.dockerignore"),
		filepath.Join(dir, "sub", "not", "it"): "",
	} {
		got, err := dockerfile.Context(dir, path)
		if err != nil || got.Path != dir || got.IgnoreFile != want {
			t.Errorf("%s: %+v, %v; want %q", path, got, err, want)
		}
	}
}

func TestIgnoredCopies(t *testing.T) {
	f := parse(t, "FROM scratch\nCOPY secret.txt a/b /x/\nADD a /y\nCOPY --from=alpine a /z\n", dockerfile.Options{})
	list, err := f.Lint(context.Background(), dockerfile.LintOptions{Ignore: []string{"*.txt", "a"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range list {
		got = append(got, w.String())
	}
	want := []string{
		`Dockerfile:2:1: CopyIgnoredFile: Attempting to Copy file "secret.txt" that is excluded by .dockerignore`,
		`Dockerfile:2:1: CopyIgnoredFile: Attempting to Copy file "a/b" that is excluded by .dockerignore`,
		`Dockerfile:3:1: CopyIgnoredFile: Attempting to Add file "a" that is excluded by .dockerignore`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := f.Lint(context.Background(), dockerfile.LintOptions{Ignore: []string{"["}}); err == nil {
		t.Error("a malformed ignore rule is no error")
	}
}

func TestBounds(t *testing.T) {
	_, err := dockerfile.Parse("Dockerfile", make([]byte, 16<<20+1), dockerfile.Options{})
	if err == nil {
		t.Error("a text of any size is read")
	}
	_, err = dockerfile.Parse("Dockerfile", []byte("FROM scratch\n"+strings.Repeat("FOO x\n", 1000)), dockerfile.Options{})
	var list stage.Errors
	if !errors.As(err, &list) || len(list) != 100 {
		t.Errorf("%d mistakes are reported", len(list))
	}
	_, err = dockerfile.Parse("Dockerfile", []byte("FROM scratch\n"+strings.Repeat("ENV x\n", 1000)), dockerfile.Options{})
	if !errors.As(err, &list) || len(list) < 10 {
		t.Errorf("%v", err)
	}
}

// A long file is read in two halves: the mistakes and the warnings of both are there, in the order of the text, and so are the stages.
func TestLongFile(t *testing.T) {
	const stages = 600
	var text strings.Builder
	for i := range stages {
		fmt.Fprintf(&text, "FROM scratch AS s%d\nCOPY file /%d\nMAINTAINER %d\n", i, i, i)
	}
	f, err := dockerfile.Parse("Dockerfile", []byte(text.String()), dockerfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if names := f.Stages(); len(names) != stages || names[0] != "s0" || names[stages-1] != fmt.Sprintf("s%d", stages-1) {
		t.Errorf("%d stages", len(names))
	}
	warnings, err := f.Lint(t.Context(), dockerfile.LintOptions{})
	if err != nil {
		t.Error(err)
	}
	line := 0
	for _, w := range warnings {
		if w.Rule == "MaintainerDeprecated" {
			if line += 3; w.Pos.Line != line {
				t.Fatalf("a warning of line %d, want %d", w.Pos.Line, line)
			}
		}
	}
	if line != 3*stages {
		t.Errorf("the last warning is of line %d", line)
	}
	wrong := strings.NewReplacer("COPY file /7\n", "COPY file\n", "COPY file /590\n", "EXPOSE\n").Replace(text.String())
	_, err = dockerfile.Parse("Dockerfile", []byte(wrong), dockerfile.Options{})
	errs, _ := errors.AsType[stage.Errors](err)
	if len(errs) != 2 || errs[0].Pos.Line != 3*7+2 || errs[1].Pos.Line != 3*590+2 {
		t.Errorf("mistakes in both halves: %v", err)
	}
}
