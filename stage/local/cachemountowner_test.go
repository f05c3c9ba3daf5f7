package local_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// TestCacheMountsTravelWithOwners: what was exported of a mount with a mode and an owner is, on another machine, in a directory with the mode
// and owner that the mount there says, and its files have theirs. An ordinary user has no owners to keep.
func TestCacheMountsTravelWithOwners(t *testing.T) {
	root := os.Geteuid() == 0
	owner := func(ids string) string {
		if root {
			return ids
		}
		return "0:0"
	}
	fill, ids := "mkdir /c/d; echo one > /c/d/a; chmod 750 /c/d; chmod 640 /c/d/a", []uint32{0, 0}
	if root {
		fill, ids = fill+"; chown 1000:1001 /c/d/a /c/d", []uint32{1000, 1001}
	}
	seen := func(dir string) string {
		return fmt.Sprintf("%s; 750 %s; 640 %s; one", dir, owner("1000:1001"), owner("1000:1001"))
	}
	for rules, base := range map[string]stage.Stage{"strict": shell(t), "compatible": stage.From(shell(t), stage.Compatible(stage.DockerRules{}))} {
		mount := func(options ...stage.MountOption) stage.RunOption {
			return stage.CacheMount("/c", append(options, stage.ID("modules"))...)
		}
		mine := []stage.MountOption{stage.MountMode(0o1770), stage.MountOwner(ids[0], ids[1])}
		look := func(e *local.Executor, options ...stage.MountOption) string {
			t.Helper()
			s := base.Run(`echo "$(stat -c '%a %u:%g' /c); $(stat -c '%a %u:%g' /c/d); $(stat -c '%a %u:%g' /c/d/a); $(cat /c/d/a)" > /seen`, mount(options...))
			return strings.TrimSpace(read(t, build(t, e, s, stage.Request{}), "seen"))
		}
		from := executor(t, t.TempDir(), local.Options{})
		first := build(t, from, base.Run(fill, mount(mine...)), stage.Request{})
		nothing := look(executor(t, t.TempDir(), local.Options{}), mine...)

		remote := newFar()
		export(t, first, remote, local.ExportOptions{Mounts: []string{"modules"}})
		other := []stage.MountOption{stage.MountMode(0o701)}
		for _, c := range []struct {
			what    string
			options []stage.MountOption
			want    string
		}{
			{"the same mount", mine, seen("1770 " + owner("1000:1001"))},
			{"another mode and owner", other, map[string]string{"strict": seen("701 0:0"), "compatible": strings.Replace(nothing, "1770 "+owner("1000:1001"), "701 0:0", 1)}[rules]},
			{"no mode and owner", nil, map[string]string{"strict": seen("755 0:0"), "compatible": strings.Replace(nothing, "1770 "+owner("1000:1001"), "755 0:0", 1)}[rules]},
		} {
			if got := look(executor(t, t.TempDir(), local.Options{From: []cache.Store{remote}}), c.options...); got != c.want {
				t.Errorf("%s, %s: %q, want %q", rules, c.what, got, c.want)
			}
		}

		// As a file it keeps what the directory itself is.
		var archive bytes.Buffer
		if err := from.ExportCacheMount(t.Context(), "modules", &archive); err != nil {
			t.Fatal(err)
		}
		to := executor(t, t.TempDir(), local.Options{})
		if err := to.ImportCacheMount(t.Context(), "modules", &archive); err != nil {
			t.Fatal(err)
		}
		if got, want := look(to), seen("1770 "+owner("1000:1001")); got != want {
			t.Errorf("%s, imported from a file: %q, want %q", rules, got, want)
		}
	}
}
