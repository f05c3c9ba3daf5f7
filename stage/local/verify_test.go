package local_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// lister is a program that writes the names of a directory as the kernel lists them.
func lister(t *testing.T) string {
	t.Helper()
	return compiled(t, "lister", `package main

import "os"

func main() {
	d, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		os.Stdout.WriteString(n + "\n")
	}
}
`)
}

// compiled is a directory with a static program.
func compiled(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", name, "main.go")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GO111MODULE=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no program can be compiled: %v\n%s", err, out)
	}
	return dir
}

// Steps that depend on what is no part of their key are found, with the file, how it differs,
// and the step that is to blame; the others are not.
func TestVerify(t *testing.T) {
	base := shell(t).CopyFrom(stage.Dir(lister(t)), "lister", "/bin/lister").
		File("/three/a", "").File("/three/b", "").File("/three/c", "").CopyFrom(stage.FS(fstest.MapFS{"a": {}, "b": {}}), ".", "/two/").Mkdir("/dirs/a").Mkdir("/dirs/b").Mkdir("/dirs/c")
	const racing = `loop() { i=0; while [ $i -lt 1000 ]; do echo $1 >> /out; i=$((i+1)); done; }; loop a & loop b & loop c & wait`
	for _, test := range []struct {
		name, run string
		want      string // the first mismatch
	}{
		{"time", "date > /out", "/out: content: "},
		{"time in a name", "touch /out-$(date +%s)", ": kind: file, then nothing"},
		{"host name", "hostname > /out", `"buildkitsandbox" `},
		{"order of a directory", "lister /two > /out", "/out: content: "},
		{"order of a directory in three layers", "lister /three > /out", "/out: content: "},
		{"order of directories", "lister /dirs > /out", "/out: content: "},
		{"order of the root", "lister / > /out", "/out: content: "},
		{"random number", "head -c 32 /dev/urandom | od > /out", "/out: content: "},
		{"bytes that are no text", "head -c 32 /dev/urandom > /out", "/out: content: 32 bytes, sha256:"},
		{"mode", "touch /out; if [ $(hostname) = buildkitsandbox ]; then chmod 600 /out; fi", "/out: mode: 0600, then 0644"},
		{"target of a link", "ln -s $(hostname) /out", `/out: target: "buildkitsandbox", then `},
		{"kind", "if [ $(hostname) = buildkitsandbox ]; then mkdir /out; else touch /out; fi", "/out: kind: directory, then file"},
		{"failure", "test $(hostname) = buildkitsandbox", "end: success, then "},
		{"race", racing, "/out: content: "},

		{"nothing", "true", ""},
		{"files", "mkdir -p /d/e; echo x > /d/e/f; ln -s f /d/e/l; ln /d/e/f /d/e/h; chmod 4755 /d/e/f; rm /two/a", ""},
		{"times of files", "touch /out", ""},
		{"sorted", "lister / | sort > /out", ""},
		{"ids", "id > /out; ls -l /two >> /out", ""},
		{"environment", "env | sort > /out; pwd >> /out", ""},
		{"names of this machine", "cat /etc/resolv.conf > /out", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := executor(t, t.TempDir(), local.Options{})
			s := base.Run(test.run).Run("true # on top of it").File("/last", "")
			want := digest(t, build(t, e, s, stage.Request{}))
			g := compile(t, s)
			var ran []string
			v, err := stage.Verify(t.Context(), e, g, stage.Request{Progress: func(ev stage.Event) {
				if ev, ok := ev.(stage.StepStarted); ok && ev.Step.Kind() == "run" {
					ran = append(ran, ev.Step.Text)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if len(ran) != 2 || v.Steps != 12 || len(v.Missing) != 0 || v.Files < 50 {
				t.Errorf("done again: %q; %s", ran, v)
			}
			switch {
			case test.want == "":
				if err := v.Err(); err != nil {
					t.Errorf("%v, %q", err, v.Mismatches)
				}
			case len(v.Mismatches) == 0:
				t.Errorf("nothing was found: %s", v)
			default:
				err := v.Err()
				if !errors.Is(err, stage.ErrNotReproducible) || !strings.Contains(v.Mismatches[0].String(), test.want) || !strings.Contains(err.Error(), test.want) ||
					!strings.Contains(err.Error(), "verify_test.go:") || v.Mismatches[0].Step.Text != "RUN /bin/sh -c "+test.run {
					t.Errorf("%v\nwant one with %q", err, test.want)
				}
			}
			// The cache is as it was.
			res := build(t, e, s, stage.Request{})
			if got := digest(t, res); got != want {
				t.Errorf("after it the build gives %s, want %s", got, want)
			}
			for _, step := range res.Report().Steps {
				if step.Status != stage.Hit {
					t.Errorf("after it %s is not in the cache", step.Text)
				}
			}
		})
	}
}

// Function steps and copies are done again, too, all mismatches are listed, in order, and what
// the cache has not got is named.
func TestVerifyFunctions(t *testing.T) {
	random := func(_ context.Context, _ fs.FS, out stage.Writer) error {
		for _, name := range []string{"/b", "/a", "/d/c"} {
			if err := out.WriteFile(name, 0o644, strings.NewReader(rand.Text())); err != nil {
				return err
			}
		}
		return nil
	}
	s := stage.Scratch(stage.As("app")).Copy(".", "/in/").Func("random", "1", random).File("/f", "x").Func("again", "1", random)
	e := executor(t, t.TempDir(), local.Options{})
	r := stage.Request{Context: stage.Dir(layout(t, "x = 1", "y = 2"))}
	v, err := stage.Verify(t.Context(), e, compile(t, s), r)
	if err != nil || v.Steps != 0 || len(v.Missing) != 4 {
		t.Errorf("with an empty cache: %v, %v", v, err)
	}
	build(t, e, s, r)
	if v, err = stage.Verify(t.Context(), e, compile(t, s), r); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range v.Mismatches {
		got = append(got, fmt.Sprint(m.Step.Text, " ", m.Path, " ", m.Aspect))
	}
	want := "FUNC random 1 a content, FUNC random 1 b content, FUNC random 1 d/c content, FUNC again 1 a content, FUNC again 1 b content, FUNC again 1 d/c content"
	if strings.Join(got, ", ") != want || v.Steps != 4 {
		t.Errorf("%s\ngot  %s\nwant %s", v, strings.Join(got, ", "), want)
	}
	if text := v.Err().Error(); !strings.Contains(text, "stage app: FUNC random 1: the step is not reproducible: /a: content: ") || !strings.HasSuffix(text, ", and 5 more") {
		t.Errorf("%s", text)
	}
	if text := v.String(); !strings.HasPrefix(text, "4 steps done again, ") || !strings.HasSuffix(text, " compared, 6 differences") {
		t.Errorf("%s", text)
	}
}

// Cache mounts begin empty when a step is done again: what depends on them is found, and they
// keep what they have.
func TestVerifyCacheMounts(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	mount := stage.CacheMount("/c")
	s := base.Run("echo first >> /c/log", mount).Run("cat /c/log > /out", mount)
	build(t, e, base.Run("echo other >> /c/log", mount), stage.Request{})
	build(t, e, s, stage.Request{})
	v, err := stage.Verify(t.Context(), e, compile(t, s), stage.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Mismatches) == 0 || !strings.Contains(v.Mismatches[0].Step.Text, "cat /c/log") {
		t.Errorf("%v", v.Err())
	}
	build(t, e, base.Run("test \"$(head -n 1 /c/log)\" = other", mount), stage.Request{})
}
