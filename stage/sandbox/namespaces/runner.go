package namespaces

import (
	"context"
	"sync"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// Options adjust a Runner. The zero value is good.
type Options struct {
	// Dir is a directory on the filesystem where the Root.Upper of later Runs
	// will lie: Probe tries an overlay there. Empty: Probe tries one in memory.
	Dir string
}

// Runner runs processes in namespaces of their own. It is safe for concurrent use.
type Runner struct {
	opts   Options
	spares spares

	mu       sync.Mutex // held while probing
	probed   bool
	probeErr error
}

var (
	_ sandbox.Runner = (*Runner)(nil)
	_ sandbox.Prober = (*Runner)(nil)

	_ sandbox.Preparer        = (*Runner)(nil)
	_ sandbox.LimitChecker    = (*Runner)(nil)
	_ sandbox.PlatformChecker = (*Runner)(nil)
	_ sandbox.IdmapChecker    = (*Runner)(nil)
)

// New returns a Runner. It does nothing else: the first Prepare, Run or Probe prepares what all share.
func New(o Options) *Runner { return &Runner{opts: o} }

// Run implements sandbox.Runner.
func (r *Runner) Run(ctx context.Context, spec *sandbox.Spec) (sandbox.Status, error) {
	if err := spec.Validate(); err != nil {
		return sandbox.Status{}, err
	}
	return r.run(ctx, spec)
}

// SubordinateIDs returns a map for sandbox.Root.IDs that gives an ordinary user
// id 0 as its own and, from 1 upwards, the ids that subuid(5) and subgid(5) grant. Where
// there are none, or newuidmap(1) is not installed, the error is an
// *sandbox.UnavailableError, and the single id of an empty map is what is left.
func SubordinateIDs() (sandbox.IDs, error) { return subordinateIDs() }

// Probe implements sandbox.Prober. It makes everything that a Run makes, for
// real, and remembers the answer.
func (r *Runner) Probe(ctx context.Context) error { return r.probe(ctx) }

// Prepare implements sandbox.Preparer: it begins to make the sealed copy of this program, the filter of system
// calls and the watcher, once a process.
func (r *Runner) Prepare() { prepare() }

// CheckLimits implements sandbox.LimitChecker. It makes the control groups that a Run
// would use, and removes them.
func (r *Runner) CheckLimits(l sandbox.Limits) error {
	if err := l.Validate(); err != nil {
		return err
	}
	return checkLimits(&l)
}

// CheckIdmapped implements sandbox.IdmapChecker. It makes everything that a Run makes, for real.
func (r *Runner) CheckIdmapped(ctx context.Context, ids sandbox.IDs) error {
	return r.checkIdmapped(ctx, ids)
}

// CheckPlatform implements sandbox.PlatformChecker. It runs a program of a few instructions,
// which takes as long as a step that does nothing; for this machine's architecture it runs nothing
// and looks at the processor's level.
func (r *Runner) CheckPlatform(ctx context.Context, p platform.Platform, emulators map[string]string) error {
	return r.checkPlatform(ctx, p, emulators)
}
