package sandbox

import (
	"context"
	"fmt"
	"time"

	"github.com/stagewright/stagewright/platform"
)

// A Runner runs one process in an isolated root filesystem.
//
// Implementations are proven by the suite in package sandboxtest.
type Runner interface {
	// Run starts spec's process and waits until it, and everything that it
	// started, has ended. It must not keep or change spec.
	//
	// A process that ran and failed is a Status with a non-zero Code and a nil
	// error. An error means that the process could not be run or was cut short:
	//
	//   - *InvalidSpecError: spec cannot mean anything, on any machine
	//   - *UnmappedIDError: spec needs a user or group id that this caller may not give
	//   - *UnavailableError: this machine cannot run any process this way
	//   - *NotFoundError, *ExecError, *DirError: the command, its interpreter or
	//     its working directory is missing or unusable in the root
	//   - *LimitError: one of spec.Limits cannot be enforced here
	//   - *PlatformError: programs for spec.Platform cannot be run here
	//   - *MountError: one of spec.Mounts could not be mounted
	//   - an error that wraps ctx.Err(): ctx ended first; the process was killed
	Run(ctx context.Context, spec *Spec) (Status, error)
}

// A Prober is a Runner that can say, without a Spec, whether this machine can
// run anything.
type Prober interface {
	// Probe returns nil when a Run can work, and otherwise an error that wraps
	// an *UnavailableError, or ctx.Err().
	Probe(ctx context.Context) error
}

// Probe asks r whether it can run processes on this machine. It returns nil
// for a Runner that cannot tell, and otherwise what [Prober.Probe] returns.
func Probe(ctx context.Context, r Runner) error {
	if p, ok := r.(Prober); ok {
		return p.Probe(ctx)
	}
	return nil
}

// A Preparer is a Runner that can begin with what its first Run has to wait for.
type Preparer interface {
	// Prepare returns at once, and what it begins ends soon, whether or not there is a Run. It may be called
	// often and by several goroutines. What goes wrong is told by the Run.
	Prepare()
}

// Prepare tells r that there will be a Run, as soon as its root is made. It does nothing for a Runner
// that is no [Preparer].
func Prepare(r Runner) {
	if p, ok := r.(Preparer); ok {
		p.Prepare()
	}
}

// A LimitChecker is a Runner that can say, before anything runs, whether it can
// enforce limits.
type LimitChecker interface {
	// CheckLimits returns nil when a Run with these limits can work on behalf of
	// this caller, and otherwise a *LimitError or an *InvalidSpecError.
	CheckLimits(l Limits) error
}

// CheckLimits asks r whether it can enforce l. It returns nil for a Runner that cannot
// tell before a Run, and otherwise what [LimitChecker.CheckLimits] returns.
func CheckLimits(r Runner, l Limits) error {
	if c, ok := r.(LimitChecker); ok && !l.IsZero() {
		return c.CheckLimits(l)
	}
	return nil
}

// A PlatformChecker is a Runner that can say, before anything runs, whether it runs
// programs for a platform.
type PlatformChecker interface {
	// CheckPlatform returns nil when a Run whose Spec has this Platform and these
	// Emulators can work, and otherwise a *PlatformError, an *UnavailableError, an *InvalidSpecError or an
	// error that wraps ctx.Err().
	CheckPlatform(ctx context.Context, p platform.Platform, emulators map[string]string) error
}

// CheckPlatform asks r whether it runs programs for p. It returns nil for a Runner that
// cannot tell before a Run, and otherwise what [PlatformChecker.CheckPlatform] returns.
func CheckPlatform(ctx context.Context, r Runner, p platform.Platform, emulators map[string]string) error {
	if c, ok := r.(PlatformChecker); ok {
		return c.CheckPlatform(ctx, p, emulators)
	}
	return nil
}

// An IdmapChecker is a Runner that knows Root.Idmapped and can say, before anything runs,
// whether this machine can do it.
type IdmapChecker interface {
	// CheckIdmapped returns nil when a Run whose Root has these IDs and is Idmapped can work,
	// and otherwise an *UnavailableError, an *InvalidSpecError or an error that wraps ctx.Err().
	// Directories on a filesystem that cannot show other ids may be refused all the same.
	CheckIdmapped(ctx context.Context, ids IDs) error
}

// CheckIdmapped asks r whether a Root with these IDs can be Idmapped. For a Runner that cannot
// tell it returns an *UnavailableError.
func CheckIdmapped(ctx context.Context, r Runner, ids IDs) error {
	if c, ok := r.(IdmapChecker); ok {
		return c.CheckIdmapped(ctx, ids)
	}
	return &UnavailableError{Cause: fmt.Sprintf("a %T does not say that it knows Root.Idmapped", r)}
}

// Status is how a process ended.
type Status struct {
	// Code is the exit code, 0 to 255. For a process that a signal ended it is
	// 128 plus the signal's number, as shells report it.
	Code int
	// Signal names the signal that ended the process, as "SIGKILL", and is
	// empty when the process exited by itself. A process 1 receives only those
	// signals that it handles or that come from outside its pid namespace, so
	// `kill -9 $$` in a step's shell does nothing, as in Docker.
	Signal string
	// User and System are the processor time used by the process and by all
	// its descendants that were waited for.
	User, System time.Duration
	// Exceeded says which of Spec.Limits the step has run into, whether it then
	// failed or not.
	Exceeded Exceeded
}

// Success reports whether the process exited by itself with code 0.
func (s Status) Success() bool { return s.Code == 0 && s.Signal == "" }
