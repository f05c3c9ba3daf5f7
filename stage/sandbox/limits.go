package sandbox

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// MinCPU is the smallest Limits.CPU: the kernel gives out processor time in
// pieces of at least one millisecond in a tenth of a second.
const MinCPU = 0.01

// Unlimited is the value of an Rlimit that does not limit.
const Unlimited = -1

// Limits bound what all processes of a Run may use together. The zero value
// bounds nothing. A Runner enforces every limit that is set, or returns a
// *LimitError before the process starts: none is ignored, and none is replaced
// by one that means something else. A limit on memory, for example, is never
// made of one on address space.
type Limits struct {
	// Memory is the largest amount of memory in bytes, files in memory and swap
	// included. When it is used up the kernel kills a process, which
	// Status.Exceeded tells.
	Memory int64
	// Pids is the largest number of processes and threads. When they are used up
	// no more can be started, which Status.Exceeded tells where the kernel does.
	Pids int64
	// CPU is how much processor time may be used, in processors: 1.5 is one and
	// a half. At least MinCPU.
	CPU float64
	// Rlimits are limits of each single process, setrlimit(2).
	Rlimits []Rlimit
}

// IsZero reports whether l bounds nothing.
func (l Limits) IsZero() bool {
	return l.Memory == 0 && l.Pids == 0 && l.CPU == 0 && len(l.Rlimits) == 0
}

// An Rlimit bounds one resource of each process: the Soft value counts, and the
// process may raise it up to Hard. Unlimited is no bound. What is limited and in which
// unit is the kernel's affair: "nproc" for example counts all processes of a
// user and does not bind user 0.
type Rlimit struct {
	// Name is the resource as setrlimit(2) has it, in lower case without RLIMIT_:
	// as, core, cpu, data, fsize, memlock, msgqueue, nice, nofile, nproc, rtprio,
	// rttime, sigpending or stack.
	Name       string
	Soft, Hard int64
}

// rlimitNames are the resources that Linux still limits: "rss" and "locks" have had
// no effect for twenty years, so nothing could enforce them.
var rlimitNames = []string{
	"as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rtprio", "rttime", "sigpending", "stack",
}

// Validate reports the first limit that means nothing on any machine, as an
// *InvalidSpecError, or nil.
func (l *Limits) Validate() error {
	switch {
	case l.Memory < 0:
		return invalid("Limits.Memory", "is negative")
	case l.Pids < 0:
		return invalid("Limits.Pids", "is negative")
	case l.CPU != 0 && (!(l.CPU >= MinCPU) || l.CPU > math.MaxInt32):
		return invalid("Limits.CPU", fmt.Sprintf("is %v and should be 0 for no limit, or a number of processors from %v", l.CPU, MinCPU))
	}
	for i := range l.Rlimits {
		r := &l.Rlimits[i]
		field := fmt.Sprintf("Limits.Rlimits[%d]", i)
		if !slices.Contains(rlimitNames, r.Name) {
			return invalid(field+".Name", fmt.Sprintf("is %q and should be one of %s", r.Name, strings.Join(rlimitNames, ", ")))
		}
		if r.Soft < Unlimited || r.Hard < Unlimited {
			return invalid(field, "is negative; sandbox.Unlimited is -1")
		}
		if r.Hard != Unlimited && (r.Soft == Unlimited || r.Soft > r.Hard) {
			return invalid(field+".Soft", "is larger than Hard")
		}
		if slices.ContainsFunc(l.Rlimits[:i], func(o Rlimit) bool { return o.Name == r.Name }) {
			return invalid(field+".Name", fmt.Sprintf("is %q, which is there already", r.Name))
		}
	}
	return nil
}

// Exceeded says which Limits a step has run into.
type Exceeded struct {
	// Memory says that the kernel killed a process for want of memory.
	Memory bool
	// Pids says that a process or thread could not be started.
	Pids bool
}
