package namespaces

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestParseHierarchies: machines and containers as they present themselves.
func TestParseHierarchies(t *testing.T) {
	const v1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n" +
		"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n" +
		"40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
	const v2 = "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
	for _, c := range []struct {
		name, mounts, groups string
		want                 []string // the group of this process in each hierarchy
	}{
		{"version 2", v2, "0::/user.slice/a.scope\n", []string{"/sys/fs/cgroup/user.slice/a.scope"}},
		{"root of a namespace", v2, "0::/\n", []string{"/sys/fs/cgroup"}},
		{"outside of the namespace", v2, "0::/../other\n", nil},
		{"version 1", v1, "4:memory:/jobs/1\n2:cpu,cpuacct:/\n9:name=systemd:/x\n", []string{
			"/sys/fs/cgroup/memory/jobs/1", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/systemd/x"}},
		{"a path with colons", v1, "4:memory:/a:b:c\n", []string{"/sys/fs/cgroup/memory/a:b:c"}},
		{"container without a namespace", "35 31 0:32 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"4:memory:/docker/1f/sub\n", []string{"/sys/fs/cgroup/memory/sub"}},
		{"another part is mounted", "35 31 0:32 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/1f0\n", nil},
		{"two mounts", v2 + "50 1 0:38 / /other\\040place rw - cgroup2 cgroup2 rw\n", "0::/\n", []string{"/sys/fs/cgroup"}},
		{"a name with a space", "50 1 0:38 / /other\\040place rw - cgroup2 cgroup2 rw\n", "0::/g\n", []string{"/other place/g"}},
		{"nothing mounted", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", "0::/\n", nil},
		{"rubbish", "x - cgroup\n - cgroup2 a b\n", "::\n0\n", nil},
	} {
		var got []string
		for _, h := range parseHierarchies(c.mounts, c.groups) {
			got = append(got, h.own)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestCandidates: in version 2 the groups above come into question, and only those that
// give their controllers away.
func TestCandidates(t *testing.T) {
	mount := t.TempDir()
	own := filepath.Join(mount, "app.slice", "run.scope")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mount, "app.slice", "cgroup.subtree_control"), []byte("memory pids\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := hierarchy{v2: true, mount: mount, own: own}
	if got, want := h.candidates(), []string{own, filepath.Dir(own), mount}; !slices.Equal(got, want) {
		t.Errorf("candidates %q, want %q", got, want)
	}
	for dir, want := range map[string]bool{own: false, filepath.Dir(own): true, mount: false} {
		if got := h.gives(dir, []string{"memory"}); got != want {
			t.Errorf("%s gives memory: %v, want %v", dir, got, want)
		}
	}
	if h.gives(filepath.Dir(own), []string{"cpu", "memory"}) {
		t.Error("a controller that is not given away is taken for given")
	}
	g, err := h.make([]string{"memory"})
	if err != nil || filepath.Dir(g.dir) != filepath.Dir(own) {
		t.Errorf("made %q, %v, want a group in app.slice", g.dir, err)
	}
	if err := (&groups{list: []group{g}}).remove(); err != nil {
		t.Error(err)
	}
	one := hierarchy{mount: mount, own: own}
	if got := one.candidates(); !slices.Equal(got, []string{own}) || !one.gives(own, nil) {
		t.Errorf("version 1: candidates %q", got)
	}
}
