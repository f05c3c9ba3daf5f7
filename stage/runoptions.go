package stage

import (
	"fmt"
	"slices"
	"time"
)

// Host is a name that a Run step can reach by an address, as one line of
// /etc/hosts.
type Host struct {
	Name string
	IP   string
}

// ExtraHost gives a host name an address, in the step's /etc/hosts and nowhere else.
// The address is in no cache key.
func ExtraHost(name, ip string) RunOption {
	return RunFunc(func(op *RunOp) { op.Hosts = append(slices.Clip(op.Hosts), Host{name, ip}) })
}

// Timeout ends an attempt that takes longer; the step then fails with an error that
// wraps [ErrTimeout]. Everything that it started is dead then.
func Timeout(d time.Duration) RunOption { return RunFunc(func(op *RunOp) { op.Timeout = d }) }

// Retry runs a step that fails again, up to the given number of further times, each on
// the files as they were before.
func Retry(times int) RunOption { return RunFunc(func(op *RunOp) { op.Retry = times }) }

// AllowExit lets the step succeed with other exit codes than 0. The files are taken as
// the command left them.
func AllowExit(codes ...int) RunOption {
	return RunFunc(func(op *RunOp) { op.Allow = append(slices.Clip(op.Allow), codes...) })
}

// Stdin gives the step an input. Without it the input is empty.
func Stdin(text string) RunOption { return RunFunc(func(op *RunOp) { op.Stdin = []byte(text) }) }

// Capture keeps what the step writes to its outputs, and its exit code, with its
// result: [OutputOf] has them, also when the step was not run again.
func Capture() RunOption { return RunFunc(func(op *RunOp) { op.Capture = true }) }

// Limits bound what a Run step may use. A limit that the machine cannot enforce is an
// error before anything runs. Limits are in no cache key. The zero value bounds nothing.
type Limits struct {
	Memory  int64   // bytes, all processes together
	Pids    int64   // processes and threads
	CPU     float64 // processors, such as 0.5
	Ulimits []Ulimit
}

// IsZero reports whether nothing is bounded.
func (l Limits) IsZero() bool {
	return l.Memory == 0 && l.Pids == 0 && l.CPU == 0 && len(l.Ulimits) == 0
}

// Ulimit is one limit of setrlimit(2), by its name in lower case without "RLIMIT_":
// "nofile", "core". -1 is no limit.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// WithLimits bounds what the step may use.
func WithLimits(l Limits) RunOption {
	l.Ulimits = slices.Clone(l.Ulimits)
	return RunFunc(func(op *RunOp) { op.Limits = l })
}

// ScriptPath sets where a script that begins with "#!" is put for the time of the
// step; nothing of it stays.
func ScriptPath(path string) RunOption { return RunFunc(func(op *RunOp) { op.ScriptName = path }) }

// RunDefaults sets options for the Run steps that follow in the stage: mounts,
// network, limits. A step's own options come after them. Stages built from this one have
// their own.
func (s Stage) RunDefaults(opts ...RunOption) Stage {
	if err := checkOptions(opts); err != nil {
		return s.then(here(), &badOp{"RUN", fmt.Errorf("RunDefaults: %w", err), leaveAway})
	}
	return s.then(here(), &RunDefaultsOp{slices.Clone(opts)})
}

// withDefaults returns the operation with what the options give where it says nothing.
func (op *RunOp) withDefaults(opts []RunOption) *RunOp {
	if len(opts) == 0 {
		return op
	}
	var d RunOp
	for _, o := range opts {
		o.ApplyRun(&d)
	}
	run := *op
	run.Mounts = nil
	for _, m := range d.Mounts {
		if !slices.ContainsFunc(op.Mounts, func(own Mount) bool { return own.Target != "" && own.Target == m.Target }) {
			run.Mounts = append(run.Mounts, m)
		}
	}
	run.Mounts = append(run.Mounts, op.Mounts...)
	run.Hosts = slices.Concat(d.Hosts, op.Hosts)
	run.Allow = slices.Concat(d.Allow, op.Allow)
	if run.Network == "" {
		run.Network = d.Network
	}
	if run.Timeout == 0 {
		run.Timeout = d.Timeout
	}
	if run.Retry == 0 {
		run.Retry = d.Retry
	}
	if run.Limits.IsZero() {
		run.Limits = d.Limits
	}
	if run.Stdin == nil {
		run.Stdin = d.Stdin
	}
	run.Capture = run.Capture || d.Capture
	run.Cache = run.Cache.Or(d.Cache)
	return &run
}
