package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/stage/stagetest"
)

// shared makes dir, to be given as -cache, use the toolbox that the tests of this module share: compiling it is not what is tested here.
func shared(t *testing.T, dir string) {
	t.Helper()
	user, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	tools := filepath.Join(user, "stagewright-toolbox")
	if err := os.MkdirAll(tools, 0o755); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(tools, filepath.Join(dir, "toolbox")); err != nil {
		t.Fatal(err)
	}
}

func TestTwice(t *testing.T) {
	stagetest.NeedsSandbox(t)
	cache, out := t.TempDir(), t.TempDir()
	shared(t, cache)
	quickstart := func() (digest, log string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if err := run(t.Context(), []string{"-o", out, "-cache", cache}, &stdout, &stderr); err != nil {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
		if !strings.Contains(stderr.String(), "Hello from a container image") {
			t.Errorf("the page is not in\n%s", stderr.String())
		}
		return strings.TrimSpace(stdout.String()), stderr.String()
	}
	first, _ := quickstart()
	second, log := quickstart()
	if first != second {
		t.Errorf("the digests differ: %s, %s", first, second)
	}
	if !strings.Contains(log, ": 0 run, ") {
		t.Errorf("the second time something ran:\n%s", log)
	}
	written, err := layout.Read(filepath.Join(out, "oci"), "quickstart:latest")
	if err != nil {
		t.Fatal(err)
	}
	if d, err := written.Digest(); err != nil || d.String() != first {
		t.Errorf("the layout has %v, %v; the last line of the output is %q", d, err, first)
	}
	if _, err := os.Stat(filepath.Join(out, "app.tar")); err != nil {
		t.Error(err)
	}
}
