package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/stagetest"
)

// TestImages builds on images of a registry. The builder's go command is a script that has the program already: what is tested is what
// -builder and -runtime do.
func TestImages(t *testing.T) {
	shell, reg, dir := stagetest.Shell(t), stagetest.Registry(t), t.TempDir()
	compile := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, "app"), "./app")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	golang := shell.Copy("app", "/compiled").File("/bin/go", "#!/bin/sh\nmkdir /out && cp /compiled /out/app\n", stage.Mode(0o755))
	reg.PushWith("golang:1.26", golang, stagewright.Options{Context: stagewright.Dir(dir)})
	reg.Push("small", stage.Scratch().File("/etc/os-release", "NAME=Small\n").Env("BASE", "small"))

	out := filepath.Join(dir, "out")
	args := []string{"-o", out, "-cache", t.TempDir(), "-builder", reg.Ref("golang:1.26"), "-runtime", reg.Ref("small")}
	var stdout, stderr bytes.Buffer
	for _, want := range []string{": done ", ": 0 run, "} {
		stdout.Reset()
		stderr.Reset()
		if err := run(t.Context(), args, &stdout, &stderr); err != nil {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
		if !strings.Contains(stderr.String(), want) || !strings.Contains(stderr.String(), "Hello from a container image") {
			t.Errorf("%q or the page is not in\n%s", want, stderr.String())
		}
	}
	if digest := stdout.String(); !strings.HasPrefix(digest, "sha256:") || strings.Count(digest, "\n") != 1 {
		t.Errorf("standard output is %q", digest)
	}
}

func TestErrors(t *testing.T) {
	address := stagetest.Registry(t).Host()
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no such form":     {[]string{"-progress", "loud"}, `"loud"`},
		"an argument":      {[]string{"now"}, `unexpected argument "now"`},
		"an unknown image": {[]string{"-builder", address + "/golang:0.1"}, "stage builder: FROM " + address + "/golang:0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			var stdout bytes.Buffer
			err := run(t.Context(), append([]string{"-o", out, "-cache", t.TempDir()}, test.args...), &stdout, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v; want one line with %s", err, test.want)
			}
			if _, err := os.Stat(out); stdout.Len() > 0 || err == nil {
				t.Errorf("after the error there is output: %q, %v", stdout.String(), err)
			}
		})
	}
	if err := run(t.Context(), []string{"-h"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}
