package stage

import (
	"context"
	"fmt"
	"time"
)

// Explainer is implemented by executors that can tell why they would do a step. Use
// [Explain].
type Explainer interface {
	Explain(ctx context.Context, g *Graph, r Request) ([]Explanation, error)
}

// Explain tells for each step of the graph that a [Report] would list whether the executor
// has its result, and when it has not, what is the first thing that differs from the
// nearest step that it did earlier. The explanations are in the order of the graph.
//
// Nothing runs, nothing is downloaded for the sake of the answer, and the executor's cache
// stays as it is. Where only running a step, or reading a base image, could tell, the
// status is empty. It fails with ErrUnsupported when the executor cannot explain, and as
// Execute does when the graph cannot be built as written.
func Explain(ctx context.Context, e Executor, g *Graph, r Request) ([]Explanation, error) {
	x, ok := e.(Explainer)
	if !ok {
		return nil, fmt.Errorf("stage: explain: %w: %T has no method Explain", ErrUnsupported, e)
	}
	return x.Explain(ctx, g, r)
}

// ResultExplainer is implemented by results of executors that can tell why they did what they
// did. Use [ExplainResult].
type ResultExplainer interface {
	Explain(ctx context.Context) ([]Explanation, error)
}

// ExplainResult tells of a finished build what [Explain] would have told before it: for each step
// that a [Report] lists, why its result was not in the cache. Status is what became of
// the step. It fails with ErrUnsupported when the executor cannot tell, and once the result is closed.
func ExplainResult(ctx context.Context, r Result) ([]Explanation, error) {
	x, ok := r.(ResultExplainer)
	if !ok {
		return nil, fmt.Errorf("stage: explain: %w: %T has no method Explain", ErrUnsupported, r)
	}
	return x.Explain(ctx)
}

// Explanation says of one step why its result is not in the cache.
type Explanation struct {
	Step *Step
	// Status is Hit or Ran; empty when only running an earlier step can tell. A base image
	// is always a Hit, since it is read only as far as other steps need it, and has a Cause
	// when it is not the one of earlier builds.
	Status Status
	// Cause is empty for a step that nothing changed for.
	Cause Cause
	// Differences are what differs from the nearest earlier step, most telling first, and
	// at most [MaxDifferences]. The first is what to show.
	Differences []Difference
	// More is how many further differences there are.
	More int
	// After is a step below this one that changed and on whose result it stands, directly
	// or by way of others: the first reason to look at. nil when there is none.
	After *Step
	// Above is the next step of the explanations on a shortest way from this one to a target:
	// what this one is needed for. nil when there is none. See Graph.Above.
	Above *Step
	// Earlier is what the step was compared with; nil when there is nothing.
	Earlier *EarlierStep
	// Local says, with CauseFirst, that only builds of this executor's own cache were looked at, while it takes results
	// from other caches, too: these hold no history, so that the step may have been built elsewhere.
	Local bool
}

// MaxDifferences bounds Explanation.Differences.
const MaxDifferences = 20

// EarlierStep is a step of an earlier build, as the cache remembers it.
type EarlierStep struct {
	Text string    // as Step.Text, shortened
	Made time.Time // when it was done; zero when the cache does not know
}

// Cause is why a step has no result in the cache.
type Cause string

const (
	// CauseFirst means that no such step was built before; see Explanation.Local.
	CauseFirst Cause = "first"
	// CauseChanged means that what the step says or reads changed: see Differences, which
	// are empty when what the cache has of the earlier step is too old to tell.
	CauseChanged Cause = "changed"
	// CauseBelow means that the step itself is as it was, but stands on one that changed, or
	// on another one than it did.
	CauseBelow Cause = "below"
	// CauseFiles means that the step and all that it stands on are as they were, but
	// that one of those gave other files when it ran again.
	CauseFiles Cause = "files"
	// CauseLost means that the step was done before, and that the cache has lost the
	// result or found it damaged.
	CauseLost Cause = "lost"
	// CauseExpired means that the result is older than the step allows.
	CauseExpired Cause = "expired"
	// CauseBypassed means that this build was told not to look, for all steps or for this one.
	CauseBypassed Cause = "bypassed"
	// CauseLayers means that the step has its result, but the cache has not got the image's
	// layers in the form that is wanted.
	CauseLayers Cause = "layers"
)

// DifferenceKind says in which way something differs.
type DifferenceKind string

const (
	// Added is what only the step of now has.
	Added DifferenceKind = "added"
	// Removed is what only the earlier step had.
	Removed DifferenceKind = "removed"
	// Changed is what both have, with another value.
	Changed DifferenceKind = "changed"
	// Lost is what the cache had and has no more.
	Lost DifferenceKind = "lost"
)

// Difference is one thing in which a step differs from an earlier one.
type Difference struct {
	Kind DifferenceKind
	// What is the sort of thing: "file", "ENV", "ARG", "command", "image", "mount",
	// "platform", "epoch", "parent" (the step that this one continues), "source" (the step
	// that it copies from), or the name of an option.
	What string
	// Name is which of them: a path in the source, the name of a variable. It may be empty.
	Name string
	// Aspect is what of a file changed: "content", "mode", "owner", "target" (of a link),
	// "kind", "attributes" or "links" (which names are one file); "order" of what is the same,
	// but after other things than before; else a part of an option, or empty.
	Aspect string
	// Old and New are the values, shortened; empty for contents.
	Old, New string
}
