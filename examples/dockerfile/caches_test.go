package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/stage/stagetest"
)

// TestCaches: each kind of cache, on the command line of docker build, makes an unchanged build of another machine a hit.
func TestCaches(t *testing.T) {
	reg := stagetest.Registry(t).Host()
	for name, test := range map[string]struct{ to, from string }{
		"registry":    {"type=registry,ref=" + reg + "/cache:main,mode=max", "type=registry,ref=" + reg + "/cache:main"},
		"in one word": {reg + "/other:main", reg + "/other:main"},
		"directory":   {"type=local,dest=DIR/kept,mode=max", "type=local,src=DIR/kept"},
		"OCI layout":  {"type=oci-layout,dest=DIR/layout,mode=min", "type=oci-layout,src=DIR/layout"},
	} {
		t.Run(name, func(t *testing.T) {
			c := project(t, site)
			want, log := c.must(t, "--cache-from", test.from, "--cache-to", test.to, "--push", "-t", reg+"/app:1", "DIR")
			if !strings.Contains(log, "to cache ") || !strings.Contains(log, "exported, ") {
				t.Errorf("the export is not told:\n%s", log)
			}
			c.cache = t.TempDir()
			if why, _ := c.must(t, "--cache-from", test.from, "--explain", "DIR"); !strings.HasPrefix(why, "0 to build") {
				t.Errorf("explained on another machine: %s", why)
			}
			got, log := c.must(t, "--cache-from", test.from, "--cache-to", test.to, "-o", "type=oci,dest=DIR/out", "DIR")
			if got != want {
				t.Errorf("digest %q, want %q", got, want)
			}
			if strings.Contains(log, " run ") || !strings.Contains(log, "there already") {
				t.Errorf("with a cache:\n%s", log)
			}
		})
	}
}

func TestCacheFlags(t *testing.T) {
	c := project(t, site)
	for _, test := range []struct{ flag, value, want string }{
		{"--cache-to", "type=inline", "use type=registry"},
		{"--cache-to", "type=gha", `type "gha"; want registry, local or oci-layout`},
		{"--cache-to", "type=registry", "no ref=…"},
		{"--cache-to", "type=registry,ref=r.test/c:1,mode=all", "mode=all; want min or max"},
		{"--cache-to", "type=local,dest=DIR/x,ignore-error=yes", "want true or false"},
		{"--cache-to", "type=local,src=DIR/x", `unknown field "src"`},
		{"--cache-from", "type=local", "no src=…"},
		{"--cache-from", "type=registry,ref=R T", "--cache-from"},
	} {
		_, _, err := c.run(t, test.flag, test.value, "DIR")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: %v, want %q", test.flag, test.value, err, test.want)
		}
	}
	// A cache that is not there yet, or not any more, is none.
	_, log := c.must(t, "--cache-from", "type=local,src=DIR/none", "--cache-from", "type=registry,ref=127.0.0.1:1/cache:main", "DIR")
	if strings.Count(log, "warning: ") != 2 {
		t.Errorf("two caches that are not there:\n%s", log)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "none")); err == nil {
		t.Error("reading made a directory")
	}
	if _, log := c.must(t, "--cache-to", "type=registry,ref=127.0.0.1:1/cache:main,ignore-error=true", "DIR"); !strings.Contains(log, "to cache ") {
		t.Errorf("an export that fails is not told:\n%s", log)
	}
}
