package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// cacheCommand runs du or prune on the cache of a command.
func (c *command) cacheCommand(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	args = append([]string{args[0], "--cache-dir", c.cache}, args[1:]...)
	err = run(context.WithoutCancel(t.Context()), args, streams{nil, &out, &log})
	return out.String(), log.String(), err
}

const pruneProject = `
-- Dockerfile --
FROM scratch
COPY conf /etc/
-- conf --
a
`

func TestPruneAndDu(t *testing.T) {
	c := project(t, pruneProject)
	image, _, err := c.run(t, "DIR")
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := c.cacheCommand(t, "du", "--verbose")
	for _, want := range []string{"record ", "blob ", "memo ", "just now", "directories", "Reclaimable:", "Free on disk:", "Total:"} {
		if !strings.Contains(out, want) {
			t.Errorf("du says nothing of %q", want)
		}
	}
	if err != nil || t.Failed() {
		t.Fatalf("du: %v\n%s", err, out)
	}
	if out, _, err := c.cacheCommand(t, "prune", "--keep-duration", "1h", "--filter", "type=blob"); err != nil || !strings.Contains(out, "Removed:\t0 entries") {
		t.Errorf("of what is young: %v\n%s", err, out)
	}
	blobs, err := filepath.Glob(filepath.Join(c.cache, "blobs/sha256/*/*"))
	if err != nil || len(blobs) == 0 {
		t.Fatal(blobs, err)
	}
	old := time.Now().Add(-73 * time.Hour)
	for _, name := range blobs {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if out, _, err := c.cacheCommand(t, "prune", "--dry-run", "--filter", "until=3d"); err != nil || !strings.Contains(out, "Would be removed:") || !strings.Contains(out, "3 days ago") || !strings.Contains(out, "unused for too long") {
		t.Errorf("dry run: %v\n%s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(c.cache, "blobs/sha256/*/*")); len(left) != len(blobs) {
		t.Errorf("a dry run left %d of %d blobs", len(left), len(blobs))
	}
	if out, _, err := c.cacheCommand(t, "prune", "--all", "--force"); err != nil || !strings.Contains(out, "all is removed") {
		t.Errorf("all: %v\n%s", err, out)
	}
	if out, _, err := c.cacheCommand(t, "du"); err != nil || strings.Contains(out, "record") || !strings.Contains(out, "Reclaimable:\t0 B") {
		t.Errorf("du of nothing: %v\n%s", err, out)
	}
	if again, _, err := c.run(t, "DIR"); err != nil || again != image {
		t.Errorf("the image is %s, was %s, %v", again, image, err)
	}
}

func TestPruneFlags(t *testing.T) {
	c := project(t, pruneProject)
	disk, err := cache.OpenDisk(c.cache, cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	disk.Close()
	for _, tt := range []struct{ args, want string }{
		{"prune", "what should go?"},
		{"prune --dry-run", "what should go?"},
		{"prune --max-used-space 0", "leaves nothing"},
		{"prune --max-used-space ten", "512MB or 10GB"},
		{"prune --max-used-space -1GB", "512MB or 10GB"},
		{"prune --max-used-space NaN", "512MB or 10GB"},
		{"prune --max-used-space 5XB", "512MB or 10GB"},
		{"prune --min-free-space 9e30", "more than any disk"},
		{"prune --min-free-space", "needs an argument"},
		{"prune --keep-duration week", "48h or 30d"},
		{"prune --keep-duration -3h", "48h or 30d"},
		{"prune --keep-duration 1e300d", "48h or 30d"},
		{"prune --filter until=", "48h or 30d"},
		{"prune --filter label=x", "want until=DURATION or type=KIND"},
		{"prune --all --filter type=image", "there are record, blob"},
		{"prune --max-used-spac 3", "did you mean --max-used-space?"},
		{"du --filter type=image", "there are record, blob"},
		{"du all", `takes no argument, and got "all"`},
	} {
		out, log, err := c.cacheCommand(t, strings.Fields(tt.args)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) || out != "" || log != "" {
			t.Errorf("%s: %v\n%s%s", tt.args, err, out, log)
		}
	}
	for _, args := range []string{"prune --max-used-space 1.5gb", "prune --keep-storage 512", "prune -a -f --filter type=exec.cachemount", "prune --min-free-space 1KiB", "prune --all --filter until=10m"} {
		if out, _, err := c.cacheCommand(t, strings.Fields(args)...); err != nil || !strings.Contains(out, "Total:\t0 B") {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	for _, name := range []string{"du", "prune"} {
		if _, log, err := c.cacheCommand(t, name, "--help"); !errors.Is(err, flag.ErrHelp) || !strings.HasPrefix(log, "usage: dockerfile "+name) {
			t.Errorf("%s --help: %v\n%s", name, err, log)
		}
	}
}

// TestNoCache: a directory that was mistyped is told, and not made.
func TestNoCache(t *testing.T) {
	c := &command{cache: filepath.Join(t.TempDir(), "mistyped")}
	for _, name := range []string{"du", "prune --all --force", "verify"} {
		if _, _, err := c.cacheCommand(t, strings.Fields(name)...); err == nil || !strings.Contains(err.Error(), "there is no cache") || !strings.Contains(err.Error(), c.cache) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Lstat(c.cache); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}
