package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Verifier is implemented by executors that can do again what their cache has. Use [Verify].
type Verifier interface {
	Verify(ctx context.Context, g *Graph, r Request) (*Verification, error)
}

// Verify does each step of the graph again whose result the cache has, on top of the cached
// files of what it stands on, and compares. A step whose files are not the same depends on
// something that is not in its key: the time, the machine, the order in which a directory is
// listed, chance. Of these things the executor changes what it can; [Verification.Varied] and
// [Verification.Kept] say what that was.
//
// The cache stays as it is, and what the request says of bypassing it does not count.
// Differences are no error: see [Verification.Err]. It fails with ErrUnsupported when the
// executor cannot verify, and as Execute does when the graph cannot be built as written.
func Verify(ctx context.Context, e Executor, g *Graph, r Request) (*Verification, error) {
	v, ok := e.(Verifier)
	if !ok {
		return nil, fmt.Errorf("stage: verify: %w: %T has no method Verify", ErrUnsupported, e)
	}
	return v.Verify(ctx, g, r)
}

// Verification is what doing steps again has shown.
type Verification struct {
	// Steps is how many steps were done again and compared.
	Steps int
	// Files is how many files, directories, links and removals of theirs were compared.
	Files int
	// Missing are the steps that could not be compared, since the cache has no result of
	// them, or not of what they stand on.
	Missing []*Step
	// Mismatches are all differences: in the order of the graph, and of one step by path.
	Mismatches []Mismatch
	// Varied are the conditions that were others than in the build, for every step that can
	// see them and is not in Kept with them.
	Varied []Condition
	// Kept are the conditions that could not be changed for a step, in the order of the graph.
	Kept []Kept
}

// Condition is something about the place and the moment in which a step is done that its result
// should not depend on.
type Condition string

// The conditions that executors can change. Only the first two matter to steps that run no process.
const (
	ConditionTime        Condition = "time"
	ConditionParallelism Condition = "parallelism"     // what runs beside it
	ConditionHostname    Condition = "host name"       // of the machine
	ConditionOrder       Condition = "order"           // in which directories list their names
	ConditionCacheMounts Condition = "cache mounts"    // what they have in them
	ConditionHostIDs     Condition = "ids on the host" // that the ids of the step's processes are for the kernel
)

// Kept is a condition that was the same when a step was done again, so that a dependence on it
// would not have been found.
type Kept struct {
	Step      *Step
	Condition Condition
	Err       error // why it could not be changed
}

// Mismatch is one thing that came out differently when a step was done again.
type Mismatch struct {
	Step *Step
	// Path is the file, from the root of the stage; empty for what the step itself did.
	Path string
	// Aspect is what of it differs: "content", "mode", "owner", "mtime", "target" (of a link),
	// "kind", "device", "attributes" or "links" (which names are one file); of a step "output"
	// (see [Capture]) or "end", when the command failed this time.
	Aspect string
	// Old is what the cache has, New what came out now.
	Old, New string
}

// String is the path, the aspect and both values: "/out: mode: 0644, then 0600".
func (m Mismatch) String() string {
	text := m.Aspect + ": " + m.Old + ", then " + m.New
	if m.Path != "" {
		text = "/" + m.Path + ": " + text
	}
	return text
}

// ErrNotReproducible says that a step came out differently when it was done again.
var ErrNotReproducible = errors.New("the step is not reproducible")

// Err is nil when nothing differs, and else an [*Error] that wraps ErrNotReproducible and
// names the first step and its first difference.
func (v *Verification) Err() error {
	if len(v.Mismatches) == 0 {
		return nil
	}
	first := v.Mismatches[0]
	more := ""
	if n := len(v.Mismatches) - 1; n == 1 {
		more = ", and 1 more"
	} else if n > 1 {
		more = fmt.Sprintf(", and %d more", n)
	}
	return first.Step.Fail(fmt.Errorf("%w: %s%s", ErrNotReproducible, first, more), "")
}

// String tells in one line what was compared and what came of it.
func (v *Verification) String() string {
	text := fmt.Sprintf("%s done again, %s compared, ", count(v.Steps, "step"), count(v.Files, "file"))
	if len(v.Missing) > 0 {
		text += count(len(v.Missing), "step") + " not in the cache, "
	}
	if len(v.Mismatches) == 0 {
		text += "no difference"
	} else {
		text += count(len(v.Mismatches), "difference")
	}
	for _, c := range keptConditions(v.Kept) {
		text += fmt.Sprintf("; with the same %s: %s", c.condition, count(c.steps, "step"))
	}
	return text
}

type keptCondition struct {
	condition Condition
	steps     int
}

// keptConditions counts the steps for which each condition was kept.
func keptConditions(list []Kept) []keptCondition {
	var out []keptCondition
	for _, k := range list {
		i := slices.IndexFunc(out, func(c keptCondition) bool { return c.condition == k.Condition })
		if i < 0 {
			i, out = len(out), append(out, keptCondition{condition: k.Condition})
		}
		out[i].steps++
	}
	return out
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
