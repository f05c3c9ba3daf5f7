package local_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// Fields that change what a step does or whether it may succeed are in its key.
func TestKeysHaveEveryField(t *testing.T) {
	e := memory(t, local.Options{})
	from := stage.Scratch().File("/a", "x")
	build(t, e, stage.Scratch().CopyFrom(from, "none", "/d/", stage.Optional()), stage.Request{})
	if _, err := e.Execute(t.Context(), compile(t, stage.Scratch().CopyFrom(from, "none", "/d/")), stage.Request{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a copy that is not optional found the optional one's result: %v", err)
	}

	// Hard links between two selected paths are part of what is selected.
	linked, apart := layout(t, "a = same"), layout(t, "a = same", "b = same")
	if err := os.Link(filepath.Join(linked, "a"), filepath.Join(linked, "b")); err != nil {
		t.Fatal(err)
	}
	s := stage.Scratch().Copy(stage.Files("a", "b"), "/d/")
	one := digest(t, build(t, e, s, stage.Request{Context: stage.Dir(linked)}))
	two := digest(t, build(t, e, s, stage.Request{Context: stage.Dir(apart)}))
	fresh := digest(t, build(t, memory(t, local.Options{}), s, stage.Request{Context: stage.Dir(apart)}))
	if two != fresh || one == two {
		t.Errorf("linked %s, apart %s, apart with an empty cache %s", one, two, fresh)
	}
}

// Planning runs nothing, also where configuration or a gate stands between two steps.
func TestPlanRunsNothing(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	gate := stage.From(base, stage.As("gate")).Run("true # gate")
	for _, s := range []stage.Stage{
		base.Run("echo > /a").Env("X", "1").Run("echo > /b"),
		base.Needs(gate).File("/f", "x").Run("echo > /c"),
	} {
		plan, err := stage.Plan(t.Context(), e, compile(t, s), stage.Request{Progress: func(ev stage.Event) {
			if start, ok := ev.(stage.StepStarted); ok && start.Step.Kind() == "run" {
				t.Errorf("planning ran %s", start.Step.Text)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range plan {
			if p.Step.Kind() == "run" && p.Status == stage.Hit {
				t.Errorf("%s is planned as a hit of an empty cache", p.Step.Text)
			}
		}
	}
}

// A mount that cannot be made is an error, and gives back what was taken before it.
func TestMountFails(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	locked := stage.CacheMount("/c", stage.WithSharing(stage.Locked))
	s := base.Run("true", locked, stage.SecretMount("k"))
	_, err := e.Execute(t.Context(), compile(t, s), stage.Request{Secrets: map[string]stage.Secret{"k": stage.SecretFile("/no/such/file")}})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "key_test.go:") {
		t.Errorf("a secret that cannot be read: %v", err)
	}
	_, err = e.Execute(t.Context(), compile(t, base.Run("true", stage.BindMount(base, "/no/such", "/m"))), stage.Request{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a bind mount of nothing: %v", err)
	}
	// The lock is free, and one id at two places does not wait for itself.
	build(t, e, base.Run("echo > /c/x; test -e /d/x", locked, stage.CacheMount("/d", stage.ID("/c"), stage.WithSharing(stage.Locked))), stage.Request{})
}

// A writable bind mount has the modes and times of the tree, not of this machine.
func TestWritableMountKeepsMetadata(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	from := stage.Scratch().Mkdir("/m", stage.Mode(0o751)).File("/m/f", "x", stage.Mode(0o604))
	res := build(t, e, base.Run("stat -c '%a' /w /w/f > /out", stage.BindMount(from, "/m", "/w", stage.Writable())), stage.Request{})
	if got := read(t, res, "out"); got != "751\n604\n" {
		t.Errorf("modes %q", got)
	}
}

// A step that was made on other files than those of now is a miss: a Run that is not
// reproducible and runs again takes the copies of its output along.
func TestRecordsBelongToTheirInputs(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	e := executor(t, dir, local.Options{})
	unique := base.Run("mktemp -u > /id; cat /id")
	s := stage.From(base, stage.As("copy")).CopyFrom(unique, "/id", "/copy")
	build(t, e, s.Label("a", "1"), stage.Request{})
	layers, err := filepath.Glob(filepath.Join(dir, "private", "snapshots", "*", "layers"))
	if err != nil || len(layers) != 1 {
		t.Fatal(layers, err)
	}
	if err := os.RemoveAll(layers[0]); err != nil {
		t.Fatal(err)
	}
	e = executor(t, dir, local.Options{})
	both := stage.Scratch().CopyFrom(unique, "/id", "/one").CopyFrom(s, "/copy", "/two")
	res := build(t, e, both, stage.Request{})
	if one, two := read(t, res, "one"), read(t, res, "two"); one != two || one == "" {
		t.Errorf("the step gave %q, its copy is %q", one, two)
	}
}

// What a merge lays over, and what an apply takes the difference of, is in the key.
func TestKeysHaveMergedStages(t *testing.T) {
	e := memory(t, local.Options{})
	a, b := stage.Scratch().File("/f", "a"), stage.Scratch().File("/f", "b")
	images := map[string]string{}
	for name, s := range map[string]stage.Stage{
		"merge a": stage.Scratch().Merge(a), "merge b": stage.Scratch().Merge(b),
		"apply to a": stage.Scratch().Apply(stage.Scratch(), a), "apply to b": stage.Scratch().Apply(stage.Scratch(), b),
	} {
		_, f, _ := strings.Cut(name, " ")
		got := read(t, build(t, e, s, stage.Request{}), "f")
		if got != f[len(f)-1:] {
			t.Errorf("%s: the file has %q", name, got)
		}
		images[name] = digest(t, build(t, e, s, stage.Request{}))
	}
	if images["merge a"] == images["merge b"] || images["apply to a"] == images["apply to b"] {
		t.Errorf("images of different stages are one: %v", images)
	}
}

// The directories that a copy keeps are in its key, by name and with their modes.
func TestKeysHaveKeptDirectories(t *testing.T) {
	for name, from := range map[string]stage.Stage{"strict": stage.Scratch(), "compatible": stage.Scratch(stage.Compatible(stage.DockerRules{}))} {
		e := memory(t, local.Options{})
		s := from.Copy(stage.Files("a/*/x"), "/d/", stage.Parents(), stage.KeepModes())
		for _, dir := range []string{layout(t, "a/b/x = 1"), layout(t, "a/c/x = 1"), layout(t, "0700 a/b/", "a/b/x = 1")} {
			request := stage.Request{Context: stage.Dir(dir)}
			got, want := digest(t, build(t, e, s, request)), digest(t, build(t, memory(t, local.Options{}), s, request))
			if got != want {
				t.Errorf("%s: %s with a cache, %s without", name, got, want)
			}
		}
	}
}
