package stage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// CacheRule says when a result counts that the cache has of a step. The zero value:
// whenever what the step was asked and what it sees are the same. [NoCache], [MaxAge] and
// [CacheKey] set it.
type CacheRule struct {
	// NoCache makes the step anew in every build.
	NoCache bool
	// MaxAge is for how long a result counts after the step began to run; 0 is no limit.
	MaxAge time.Duration
	// Key is part of what the step is looked up by, and of nothing else.
	Key string
}

// CacheOption adjusts how the cache is used for one step: of Run, Script, Copy, Add and
// Func alike.
type CacheOption func(*CacheRule)

// ApplyRun makes a CacheOption a RunOption.
func (o CacheOption) ApplyRun(op *RunOp) { o(&op.Cache) }

// ApplyCopy makes a CacheOption a CopyOption.
func (o CacheOption) ApplyCopy(op *CopyOp) { o(&op.Cache) }

// NoCache makes the step anew in every build, whatever the cache has of it. What it makes
// goes into the cache, and when that is what it was, the steps that follow are not made
// again. Contents of cache mounts stay.
func NoCache() CacheOption { return func(r *CacheRule) { r.NoCache = true } }

// MaxAge makes the step anew when the cache's result is older: an "apt-get update" once a
// day. The age is counted from when the step ran, not from when its result was used, and 0
// is no limit. When it makes the same again, the steps that follow are not made again.
func MaxAge(d time.Duration) CacheOption { return func(r *CacheRule) { r.MaxAge = d } }

// CacheKey adds a text to what the step is looked up by: with another one the step is made
// anew. The text changes nothing else, and is in no history.
func CacheKey(text string) CacheOption { return func(r *CacheRule) { r.Key = text } }

func (r CacheRule) check() error {
	if r.MaxAge < 0 {
		return fmt.Errorf("MaxAge(%v): want a positive duration, or 0 for no limit", r.MaxAge)
	}
	return nil
}

// Or returns the rule with what d says where it says nothing.
func (r CacheRule) Or(d CacheRule) CacheRule {
	return CacheRule{NoCache: r.NoCache || d.NoCache, MaxAge: cmp.Or(r.MaxAge, d.MaxAge), Key: cmp.Or(r.Key, d.Key)}
}

// CacheRule returns what the operation says of the cache: the zero value for those that
// have no such options.
func (s *Step) CacheRule() CacheRule {
	switch op := s.Op.(type) {
	case *RunOp:
		return op.Cache
	case *CopyOp:
		return op.Cache
	case *FuncOp:
		return op.Cache
	}
	return CacheRule{}
}

// Bypassed tells for each step of a graph whether the request or the step itself wants it
// made anew. It fails when NoCacheStages has a name that no stage of the graph has.
func (r Request) Bypassed(g *Graph) ([]bool, error) {
	anew := make([]bool, len(g.steps))
	found := make([]bool, len(r.NoCacheStages))
	for i, step := range g.steps {
		anew[i] = r.NoCache || step.CacheRule().NoCache
		for k, name := range r.NoCacheStages {
			if strings.EqualFold(name, step.Stage) {
				anew[i], found[k] = true, true
			}
		}
	}
	if k := slices.Index(found, false); k >= 0 {
		return nil, g.unknownStage("NoCacheStages", r.NoCacheStages[k])
	}
	return anew, nil
}

// unknownStage is the error of an option that names a stage which the graph has not got.
func (g *Graph) unknownStage(option, name string) error {
	known := map[string]bool{}
	for _, step := range g.steps {
		known[step.Stage] = true
	}
	names := slices.Sorted(maps.Keys(known))
	fix := "the stages are " + strings.Join(names, ", ")
	if near := nearest(name, names); near != "" {
		fix = "did you mean " + near + "?"
	}
	return fmt.Errorf("stage: %s: %w: nothing that is built belongs to a stage %q; %s", option, ErrUnknownStage, name, fix)
}
