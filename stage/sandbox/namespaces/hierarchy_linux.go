package namespaces

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The controllers of control groups that limits are made of.
const (
	controllerMemory = "memory"
	controllerPids   = "pids"
	controllerCPU    = "cpu"
)

// hierarchy is a tree of control groups that is mounted here, and this process's
// place in it. A machine has several of version 1, one of version 2, or both, with each
// controller in one of them.
type hierarchy struct {
	v2          bool
	mount       string   // where it is mounted
	own         string   // directory of the group of this process
	controllers []string // of version 1: those of the hierarchy; of version 2: those that the group may use
}

// findHierarchies reads proc_pid_mountinfo(5) and cgroups(7).
func findHierarchies() []hierarchy {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	list := parseHierarchies(string(info), string(groups))
	for i := range list {
		h := &list[i]
		if !h.v2 {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(h.own, "cgroup.controllers")); err == nil {
			h.controllers = strings.Fields(string(b))
		}
	}
	return list
}

// parseHierarchies finds the mounts of control groups that show the group of this
// process. Of several for one hierarchy the first counts.
func parseHierarchies(mountinfo, groups string) []hierarchy {
	var list []hierarchy
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(tail) < 3 || tail[0] != "cgroup" && tail[0] != "cgroup2" {
			continue
		}
		h := hierarchy{v2: tail[0] == "cgroup2", mount: unescapeMount(fields[4])}
		if !h.v2 {
			// The options of the super block name the controllers, among others that no controller is called.
			h.controllers = strings.Split(tail[2], ",")
		}
		group, ok := groupOf(groups, &h)
		root := unescapeMount(fields[3])
		rel, below := strings.CutPrefix(group, strings.TrimSuffix(root, "/"))
		if !ok || !below || rel != "" && rel[0] != '/' || strings.HasPrefix(group, "/..") {
			continue // another part of the tree is mounted
		}
		h.own = filepath.Join(h.mount, rel)
		if !slices.ContainsFunc(list, func(o hierarchy) bool {
			return o.v2 == h.v2 && (h.v2 || slices.Equal(o.controllers, h.controllers))
		}) {
			list = append(list, h)
		}
	}
	return list
}

// groupOf finds the line of a hierarchy in /proc/self/cgroup: ID:CONTROLLERS:PATH, with
// no controllers for version 2.
func groupOf(groups string, h *hierarchy) (string, bool) {
	for line := range strings.Lines(groups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		if h.v2 {
			if f[0] == "0" && f[1] == "" {
				return f[2], true
			}
			continue
		}
		for name := range strings.SplitSeq(f[1], ",") {
			if name != "" && slices.Contains(h.controllers, name) {
				return f[2], true
			}
		}
	}
	return "", false
}

// unescapeMount turns the \ooo of mountinfo back into bytes: only these four occur.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// candidates lists the directories in which a group with the given controllers can be
// made, the nearest first. In version 1 that is the group of this process. In version 2
// a group that has processes gives its controllers to none below it, so the
// groups above it come into question, up to the mount.
func (h *hierarchy) candidates() []string {
	if !h.v2 {
		return []string{h.own}
	}
	list := []string{h.own}
	for dir := h.own; dir != h.mount; {
		dir = filepath.Dir(dir)
		if len(dir) < len(h.mount) {
			break
		}
		list = append(list, dir)
	}
	return list
}

// gives reports whether the groups below dir have all of these controllers.
func (h *hierarchy) gives(dir string, controllers []string) bool {
	if !h.v2 {
		return true
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return false
	}
	have := strings.Fields(string(b))
	return !slices.ContainsFunc(controllers, func(c string) bool { return !slices.Contains(have, c) })
}
