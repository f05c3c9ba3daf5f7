package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/stage/stagetest"
)

// TestVerify: a step that is not reproducible is named, and nothing is written.
func TestVerify(t *testing.T) {
	registry := stagetest.Registry(t)
	registry.Push("shell", stagetest.Shell(t))
	c := project(t, `
-- Dockerfile --
FROM `+registry.Ref("shell")+`
RUN echo same > /same
ARG WHEN=never
RUN if [ $WHEN = always ]; then date > /when; fi
`)
	if _, log := c.must(t, "--verify", "-o", "DIR/out", "DIR"); !strings.Contains(log, "2 steps done again, ") || !strings.Contains(log, "no difference") {
		t.Errorf("the log says\n%s", log)
	}
	if got := c.file(t, "out/same"); got != "same\n" {
		t.Errorf("the output has %q", got)
	}
	_, log, err := c.run(t, "--verify", "--no-cache", "--build-arg", "WHEN=always", "-o", "DIR/other", "DIR")
	if err == nil || !strings.Contains(err.Error(), "Dockerfile:4:1: stage 0: RUN") || !strings.Contains(err.Error(), "not reproducible: /when: content: ") || !strings.Contains(log, "1 difference") {
		t.Errorf("error %v\n%s", err, log)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "other")); err == nil {
		t.Error("an output was written")
	}
}

// TestVerifyCache: a damaged file of the cache is named and removed, and the build gives the same again.
func TestVerifyCache(t *testing.T) {
	c := project(t, site)
	want, _ := c.must(t, "DIR")
	if out, _, err := c.cacheCommand(t, "verify"); err != nil || !strings.Contains(out, "blob") || !strings.Contains(out, "\nNot read, see --help:\t1 memo (") {
		t.Errorf("a whole cache: %v\n%s", err, out)
	}
	blobs, err := filepath.Glob(filepath.Join(c.cache, "blobs", "sha256", "*", "*"))
	if err != nil || len(blobs) == 0 {
		t.Fatal(blobs, err)
	}
	if err := errors.Join(os.Chmod(blobs[0], 0o600), os.Truncate(blobs[0], 1)); err != nil {
		t.Fatal(err)
	}
	if out, _, err := c.cacheCommand(t, "verify"); !errors.Is(err, errDamaged) || !strings.Contains(out, "blob "+filepath.Base(blobs[0])) {
		t.Errorf("a damaged cache: %v\n%s", err, out)
	}
	if out, _, err := c.cacheCommand(t, "verify"); err != nil {
		t.Errorf("after that: %v\n%s", err, out)
	}
	if got, _ := c.must(t, "DIR"); got != want {
		t.Errorf("the image is %s, want %s", got, want)
	}
	if _, log, err := c.cacheCommand(t, "verify", "--help"); !errors.Is(err, flag.ErrHelp) || !strings.HasPrefix(log, "usage: dockerfile verify") {
		t.Errorf("--help: %v\n%s", err, log)
	}
}
