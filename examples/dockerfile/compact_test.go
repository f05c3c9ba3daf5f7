package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/stage/stagetest"
)

// TestCompact: what several builds have exported is one manifest afterwards, and as good.
func TestCompact(t *testing.T) {
	reg := stagetest.Registry(t).Host()
	for name, at := range map[string]struct{ to, cache, none string }{
		"registry":   {reg + "/cache:main", reg + "/cache:main", ""},
		"OCI layout": {"type=oci-layout,dest=DIR/layout", "type=oci-layout,src=DIR/layout", ",name=other"},
	} {
		t.Run(name, func(t *testing.T) {
			c := project(t, pruneProject)
			var want string
			for n := range 3 {
				if err := os.WriteFile(filepath.Join(c.dir, "conf"), fmt.Appendf(nil, "%d\n", n), 0o644); err != nil {
					t.Fatal(err)
				}
				want, _ = c.must(t, "--cache-to", at.to, "DIR")
			}
			for _, expected := range []string{"manifests made one:\t3\n", "manifests made one:\t0\nmanifests deleted:\t0\nrecords and blobs left out:\t0\n"} {
				out, log, err := compacted(t, c, "--max-age", "30d", at.cache)
				if err != nil || !strings.HasPrefix(out, expected) || log != "" {
					t.Errorf("%v\n%s%s, want %q", err, out, log, expected)
				}
			}
			if out, log, err := compacted(t, c, strings.Replace(at.cache, "main", "mian", 1)+at.none); err != nil || !strings.Contains(log, "is its name right?") {
				t.Errorf("a cache that is not there: %v\n%s%s", err, out, log)
			}
			c.cache = t.TempDir()
			if got, log := c.must(t, "--cache-from", at.cache, "DIR"); got != want || strings.Contains(log, " run ") {
				t.Errorf("afterwards %s, want %s:\n%s", got, want, log)
			}
		})
	}
}

func TestCompactMistakes(t *testing.T) {
	c := project(t, pruneProject)
	for _, tt := range []struct{ args, want string }{
		{"", "takes one cache"},
		{"a b", "takes one cache"},
		{"--max-age 1h r.test/c:1", "less than 48h0m0s"},
		{"--max-age soon r.test/c:1", "want hours or days"},
		{"--max-ag 72h r.test/c:1", "did you mean --max-age?"},
		{"type=local,src=DIR", "dockerfile prune"},
		{"type=oci-layout,src=DIR/none", "no such file"},
		{"type=oci-layout", "no src=…"},
		{"type=gha", "want registry, local or oci-layout"},
		{"type=oci-layout,dest=DIR", `unknown field "dest"`},
		{"127.0.0.1:1/cache:main", "compact 127.0.0.1:1/cache:main: "},
	} {
		out, log, err := compacted(t, c, strings.Fields(tt.args)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) || out != "" || log != "" {
			t.Errorf("%s: %v\n%s%s", tt.args, err, out, log)
		}
	}
	if _, log, err := compacted(t, c, "--help"); !errors.Is(err, flag.ErrHelp) || !strings.HasPrefix(log, "usage: dockerfile compact") {
		t.Errorf("--help: %v\n%s", err, log)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "none")); err == nil {
		t.Error("a directory was made")
	}
}

// compacted runs compact. DIR is the directory of the command.
func compacted(t *testing.T, c *command, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	args = append([]string{"compact"}, args...)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", c.dir)
	}
	err = run(context.WithoutCancel(t.Context()), args, streams{nil, &out, &log})
	return out.String(), log.String(), err
}
