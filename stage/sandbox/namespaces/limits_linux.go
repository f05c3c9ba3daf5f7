package namespaces

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// groups are the control groups of one step, one in each hierarchy that has a
// controller for one of its limits.
type groups struct {
	list []group
	pids int64 // limit of processes, 0 for none
}

// group is one of them.
type group struct {
	v2          bool
	dir         string
	controllers []string
}

// ownThreads is how many threads the helper may have on its way to execve.
const ownThreads = 32

// makeGroups makes the control groups that l needs, nil when it needs none.
func makeGroups(l *sandbox.Limits, hierarchies []hierarchy) (_ *groups, err error) {
	var needed []string
	for name, want := range map[string]bool{controllerMemory: l.Memory > 0, controllerPids: l.Pids > 0, controllerCPU: l.CPU > 0} {
		if want {
			needed = append(needed, name)
		}
	}
	if len(needed) == 0 {
		return nil, nil
	}
	slices.Sort(needed)
	g := &groups{pids: l.Pids}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.remove())
		}
	}()
	for _, h := range hierarchies {
		var here []string
		needed = slices.DeleteFunc(needed, func(c string) bool {
			ok := slices.Contains(h.controllers, c)
			if ok {
				here = append(here, c)
			}
			return ok
		})
		if len(here) == 0 {
			continue
		}
		made, err := h.make(here)
		if err != nil {
			return nil, err
		}
		g.list = append(g.list, made)
		if err := made.limit(l); err != nil {
			return nil, err
		}
	}
	if len(needed) > 0 {
		return nil, &sandbox.LimitError{
			Limit: fieldOf(needed[0]),
			Cause: "no mounted control group hierarchy gives this process a " + needed[0] + " controller",
			Fix:   fixGroups,
		}
	}
	return g, nil
}

const fixGroups = "mount one (cgroups(7)); as an ordinary user of systemd start the build with " +
	"systemd-run --user --scope -p Delegate=yes, in a container with a private, writable /sys/fs/cgroup; or leave the limit out"

// fieldOf names the field of sandbox.Limits that a controller serves.
func fieldOf(controller string) string {
	switch controller {
	case controllerMemory:
		return "Memory"
	case controllerPids:
		return "Pids"
	}
	return "CPU"
}

// make makes a group with these controllers at the nearest place that allows it.
func (h *hierarchy) make(controllers []string) (group, error) {
	name := fmt.Sprintf("stagewright-%d-%s", os.Getpid(), rand.Text()[:12])
	var last error
	for _, enable := range []bool{false, true} {
		for _, dir := range h.candidates() {
			if h.gives(dir, controllers) == enable {
				continue
			}
			if enable {
				// Only root is asked for groups that nobody has prepared. A group that has
				// processes itself refuses.
				if err := writeGroup(dir, "cgroup.subtree_control", "+"+strings.Join(controllers, " +")); err != nil {
					last = err
					continue
				}
			}
			at := filepath.Join(dir, name)
			watchGroup(at, true)
			if err := os.Mkdir(at, 0o755); err != nil {
				watchGroup(at, false)
				last = err
				continue
			}
			return group{v2: h.v2, dir: at, controllers: controllers}, nil
		}
	}
	return group{}, &sandbox.LimitError{
		Limit: fieldOf(controllers[0]),
		Cause: "this process may not make a control group with a " + controllers[0] + " controller below " + h.mount,
		Fix:   fixGroups, Err: last,
	}
}

// limit sets the limits that the group's controllers enforce.
func (g *group) limit(l *sandbox.Limits) error {
	for _, c := range g.controllers {
		var err error
		switch c {
		case controllerMemory:
			err = g.limitMemory(l.Memory)
		case controllerPids:
			err = writeGroup(g.dir, "pids.max", strconv.FormatInt(l.Pids+ownThreads, 10))
		case controllerCPU:
			const period = 100_000 // microseconds
			quota := strconv.FormatInt(int64(l.CPU*period), 10)
			if g.v2 {
				err = writeGroup(g.dir, "cpu.max", quota+" "+strconv.Itoa(period))
				break
			}
			if err = writeGroup(g.dir, "cpu.cfs_period_us", strconv.Itoa(period)); err == nil {
				err = writeGroup(g.dir, "cpu.cfs_quota_us", quota)
			}
		}
		if err != nil {
			return &sandbox.LimitError{Limit: fieldOf(c), Cause: "the kernel refuses the value, which may be more than the groups above allow", Err: err}
		}
	}
	return nil
}

// limitMemory counts swap as memory. A kernel without swap accounting has no file
// for it, and one without swap nothing to count.
func (g *group) limitMemory(n int64) error {
	limit, swap, value := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", strconv.FormatInt(n, 10)
	swapValue := value
	if g.v2 {
		limit, swap, swapValue = "memory.max", "memory.swap.max", "0"
	}
	if err := writeGroup(g.dir, limit, value); err != nil {
		return err
	}
	err := writeGroup(g.dir, swap, swapValue)
	if errors.Is(err, fs.ErrNotExist) && !hasSwap() {
		return nil
	}
	return err
}

// hasSwap reports whether this machine has any, proc_swaps(5): a header and a line each.
func hasSwap() bool {
	b, err := os.ReadFile("/proc/swaps")
	return err != nil || strings.Count(string(b), "\n") > 1
}

// join puts a process into the groups.
func (g *groups) join(pid int) error {
	if g == nil {
		return nil
	}
	for _, at := range g.list {
		if err := writeGroup(at.dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return &sandbox.LimitError{
				Limit: fieldOf(at.controllers[0]), Cause: "this process may not put another into the control group " + at.dir, Fix: fixGroups, Err: err,
			}
		}
	}
	return nil
}

// close takes the room for the helper's own threads away, once it has become the command.
func (g *groups) close() error {
	if g == nil || g.pids == 0 {
		return nil
	}
	for _, at := range g.list {
		if slices.Contains(at.controllers, controllerPids) {
			if err := writeGroup(at.dir, "pids.max", strconv.FormatInt(g.pids, 10)); err != nil {
				return &sandbox.LimitError{Limit: fieldOf(controllerPids), Cause: "the kernel refuses the value", Err: err}
			}
		}
	}
	return nil
}

// exceeded reads which limits the step has run into.
func (g *groups) exceeded() (e sandbox.Exceeded) {
	if g == nil {
		return e
	}
	for _, at := range g.list {
		for _, c := range at.controllers {
			switch {
			case c == controllerMemory && at.v2:
				e.Memory = countIn(at.dir, "memory.events", "oom_kill") > 0
			case c == controllerMemory:
				e.Memory = countIn(at.dir, "memory.oom_control", "oom_kill") > 0
			case c == controllerPids:
				e.Pids = countIn(at.dir, "pids.events", "max") > 0
			}
		}
	}
	return e
}

// countIn reads one number of a file of lines "NAME NUMBER".
func countIn(dir, file, name string) uint64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64) // 0 for what is no number
			return n
		}
	}
	return 0
}

// remove removes the groups, whose processes have ended.
func (g *groups) remove() error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, at := range g.list {
		err := child.RemoveGroup(at.dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("sandbox: remove the control group %s: %w", at.dir, err))
			continue
		}
		watchGroup(at.dir, false)
	}
	return errors.Join(errs...)
}

// writeGroup writes a file that the kernel made.
func writeGroup(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
