package namespaces

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// resources are the numbers of the names that a sandbox.Rlimit can have.
var resources = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
	"fsize": unix.RLIMIT_FSIZE, "memlock": unix.RLIMIT_MEMLOCK, "msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE,
	"nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "rtprio": unix.RLIMIT_RTPRIO, "rttime": unix.RLIMIT_RTTIME,
	"sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// prepareLimits finds the means for l's limits and makes the control groups among them.
func prepareLimits(id *identity, l *sandbox.Limits) (*groups, []child.Rlimit, error) {
	if l.IsZero() {
		return nil, nil, nil
	}
	rlimits := make([]child.Rlimit, 0, len(l.Rlimits)+1)
	for _, r := range l.Rlimits {
		rlimits = append(rlimits, child.Rlimit{Name: r.Name, Resource: resources[r.Name], Soft: rlimit(r.Soft), Hard: rlimit(r.Hard)})
	}
	hierarchies := findHierarchies()
	g, err := makeGroups(l, hierarchies)
	if _, ok := errors.AsType[*sandbox.LimitError](err); ok && l.Pids > 0 && nprocBinds(id) {
		rest := *l
		rest.Pids = 0
		if g, err = makeGroups(&rest, hierarchies); err == nil {
			rlimits = addNproc(rlimits, uint64(l.Pids))
		}
	}
	return g, rlimits, err
}

// checkLimits finds out whether limits can be enforced for a root without id maps.
func checkLimits(l *sandbox.Limits) error {
	id := identify(thisMachine(), &sandbox.Root{}, false)
	g, rlimits, err := prepareLimits(&id, l)
	if err != nil {
		return err
	}
	for i := range rlimits {
		var now unix.Rlimit
		if err := unix.Getrlimit(rlimits[i].Resource, &now); err == nil && rlimits[i].Hard > now.Max && !mayRaise() {
			return errors.Join(cannotRaise(rlimits[i].Name, unix.EPERM), g.remove())
		}
	}
	return g.remove()
}

// mayRaise reports whether this process may raise hard limits.
func mayRaise() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return thisMachine().initial && unix.Capget(&hdr, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// rlimit spells a value as setrlimit(2) does.
func rlimit(v int64) uint64 {
	if v == sandbox.Unlimited {
		return unix.RLIM_INFINITY
	}
	return uint64(v)
}

// nprocBinds reports whether RLIMIT_NPROC means what Limits.Pids means: since Linux 5.14
// it counts, for each user namespace apart, the tasks of a user other than the
// machine's root. With one id inside, those are all tasks of the step.
func nprocBinds(id *identity) bool {
	return id.userNS && os.Geteuid() != 0 && len(id.ids.UIDs) == 1 && id.ids.UIDs[0].Size == 1 && kernelAtLeast(5, 14)
}

func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var a, b int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

// addNproc sets the number of processes, or lowers one that is there.
func addNproc(list []child.Rlimit, n uint64) []child.Rlimit {
	i := slices.IndexFunc(list, func(r child.Rlimit) bool { return r.Resource == unix.RLIMIT_NPROC })
	if i < 0 {
		return append(list, child.Rlimit{Name: "nproc", Resource: unix.RLIMIT_NPROC, Soft: n, Hard: n})
	}
	list[i].Soft, list[i].Hard = min(list[i].Soft, n), min(list[i].Hard, n)
	return list
}

// explainLimit says why an rlimit could not be set.
func explainLimit(f *child.Failure) error {
	if errors.Is(f.Errno, unix.EPERM) {
		return cannotRaise(f.Path, f.Errno)
	}
	return &sandbox.LimitError{Limit: f.Path, Cause: "the kernel refuses to " + f.Op + " it", Err: f.Errno}
}

func cannotRaise(name string, errno unix.Errno) error {
	return &sandbox.LimitError{
		Limit: name, Cause: "this process may not raise it above what it was started with", Err: errno,
		Fix: "raise the hard limit of the builder first (ulimit -H, or LimitNAME= of its systemd unit), or ask for less",
	}
}
