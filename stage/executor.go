package stage

import (
	"context"
	"fmt"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
)

// Executor evaluates graphs. stage/local is the one of this module;
// stage/executortest has the tests that every implementation must pass.
//
// Execute builds every target of the graph, or fails. It may be called several
// times at once. Errors are an [Errors] or an [*Error] where a step is to blame,
// wrap [ErrUnsupported] where the executor cannot do what the graph asks for (found
// before anything runs), and wrap the context's error after a cancellation, which
// leaves nothing running.
type Executor interface {
	Execute(ctx context.Context, g *Graph, r Request) (Result, error)
}

// Request is what a build needs beside its graph. The zero Request has no
// context, no secrets and nobody who watches.
type Request struct {
	// Context is what Copy reads from: a DirSource, an FSSource, a TarSource, an
	// HTTPSource that is an archive, or a GitSource. With nil a graph that copies from the
	// context is an error.
	Context Source
	// Secrets are the values for SecretMount and SecretEnv, by id.
	Secrets map[string]Secret
	// SSH are the agents for SSHMount, by id.
	SSH map[string]SSHAgent
	// NoCache makes every step anew, whatever the cache knows; what is made goes into
	// the cache. Contents of cache mounts stay. What another build makes of the same step
	// counts when it began after this one.
	NoCache bool
	// NoCacheStages does the same with the steps of the stages of these names, compared
	// without case: not with those of stages that they are based on, nor of stages that are
	// based on them, which see whether the files changed. A name that no stage of the graph
	// has is an error that wraps ErrUnknownStage.
	NoCacheStages []string
	// Partial builds the targets that can be built: one that fails, before anything runs
	// or later, is in [FailedOf] the result and does not end the others. Without it every
	// target is built or none. A build of which no target can be built fails all the same.
	Partial bool
	// Progress is told what happens, one event at a time.
	Progress func(Event)
	// Ahead, unless it is nil, is given large layers when their making begins, to be sent somewhere meanwhile. It returns at once, may be
	// called on any goroutine, and closes what it is given. Executors that make no layers here do not call it.
	Ahead func(*image.Growing)
}

// Secret gives the value of a secret when a step needs it.
type Secret func(ctx context.Context) ([]byte, error)

// SecretValue is a secret with a known value.
func SecretValue(value string) Secret {
	return func(context.Context) ([]byte, error) { return []byte(value), nil }
}

// SecretFile is a secret that is read from a file.
func SecretFile(path string) Secret {
	return func(context.Context) ([]byte, error) {
		value, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("secret: %w", err)
		}
		return value, nil
	}
}

// SSHAgent is where an SSHMount leads: to the socket of a running agent, or to an agent
// of the build's own that holds the private keys in the given files, which must have no
// passphrase.
type SSHAgent struct {
	Socket string
	Keys   []string
}

// Result is a finished build. What it hands out is valid until Close.
type Result interface {
	// Outputs returns one image for each target of the graph that was built, in order:
	// without Request.Partial for each.
	Outputs() []Output
	// Files returns the files as they are after a step of the graph. It fails
	// with ErrUnknownStage when the graph has no such step, or only a target that could not be
	// built has it.
	Files(step int) (fs.FS, error)
	// Report tells what happened to each step.
	Report() Report
	// Close releases what the result holds. A second call does nothing.
	Close() error
}

// Output is the image of one target on one platform.
type Output struct {
	Target   Target
	Platform platform.Platform
	Image    v1.Image
}

// PlatformFailure is a target that could not be built on its platform, and why.
type PlatformFailure struct {
	Target   Target
	Platform platform.Platform
	Err      error
}

// Error returns the platform and why the target could not be built on it.
func (f PlatformFailure) Error() string { return fmt.Sprintf("%s: %v", f.Platform, f.Err) }

// Unwrap returns why the target could not be built.
func (f PlatformFailure) Unwrap() error { return f.Err }

// PartialResult is implemented by results of executors that know Request.Partial. Use
// [FailedOf].
type PartialResult interface {
	// Failed returns the targets that could not be built, in the order of the graph.
	Failed() []PlatformFailure
}

// FailedOf returns the targets that could not be built, in the order of the graph: none
// without Request.Partial, or when the executor knows nothing of that and builds all
// targets or none.
func FailedOf(r Result) []PlatformFailure {
	if p, ok := r.(PartialResult); ok {
		return p.Failed()
	}
	return nil
}

// RunOutput is what a Run step with [Capture] wrote, and how it ended.
type RunOutput struct {
	Stdout, Stderr []byte
	ExitCode       int
}

// OutputKeeper is implemented by results of executors that keep the output of Run steps.
// Use [OutputOf].
type OutputKeeper interface {
	RunOutput(step int) (RunOutput, error)
}

// OutputOf returns what a Run step with the option [Capture] wrote, whether it ran in this
// build or in an earlier one. It fails with ErrUnknownStage when the graph has no such
// step, and with ErrUnsupported when the step captures nothing or the executor keeps no
// output.
func OutputOf(r Result, step int) (RunOutput, error) {
	k, ok := r.(OutputKeeper)
	if !ok {
		return RunOutput{}, fmt.Errorf("stage: output: %w: %T has no method RunOutput", ErrUnsupported, r)
	}
	return k.RunOutput(step)
}

// Origin is where a build context came from.
type Origin struct {
	URL      string // of the git repository, without credentials
	Revision string // the commit, in hexadecimal
}

// OriginKeeper is implemented by results of executors that know where a context came
// from. Use [ContextOrigin].
type OriginKeeper interface {
	ContextOrigin() (Origin, bool)
}

// ContextOrigin returns the commit that the files of the build context have; false when
// the context is no git repository, when no step uses it, and when the executor cannot
// tell.
func ContextOrigin(r Result) (Origin, bool) {
	if k, ok := r.(OriginKeeper); ok {
		return k.ContextOrigin()
	}
	return Origin{}, false
}

// PlannedStep is what an executor would do with a step.
type PlannedStep struct {
	Step   *Step
	Status Status // Hit or Ran; empty when only running an earlier step can tell
}

// Planner is implemented by executors that can tell what they would do. Use
// [Plan].
type Planner interface {
	Plan(ctx context.Context, g *Graph, r Request) ([]PlannedStep, error)
}

// Plan tells for each step of the graph whether the executor would run it or
// has its result, without running anything. It fails with ErrUnsupported when the
// executor cannot tell.
func Plan(ctx context.Context, e Executor, g *Graph, r Request) ([]PlannedStep, error) {
	p, ok := e.(Planner)
	if !ok {
		return nil, fmt.Errorf("stage: plan: %w: %T has no method Plan", ErrUnsupported, e)
	}
	return p.Plan(ctx, g, r)
}
