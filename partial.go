package stagewright

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// compileFor compiles for the wanted platforms: for all of them, or for a partial build for
// those that compile, such as the platforms that a base image has. The others are b.failed.
func (b *builder) compileFor(ctx context.Context, o *Options, compile func(platform.Set) (*stage.Graph, error)) (*stage.Graph, error) {
	g, err := compile(o.Platforms)
	if err == nil || !o.Partial || len(o.Platforms) < 2 || ctx.Err() != nil {
		return g, err
	}
	var good platform.Set
	for _, p := range o.Platforms {
		if _, err := compile(platform.Set{p}); err != nil {
			b.failed = append(b.failed, stage.PlatformFailure{Target: stage.Target{Platform: p}, Platform: p, Err: err})
			continue
		}
		good = append(good, p)
	}
	if len(good) == 0 {
		b.failed = nil
		return nil, err
	}
	return compile(good)
}

// joinFailures adds why platforms did not compile to the error of those that did.
func joinFailures(err error, failed []stage.PlatformFailure) error {
	errs := []error{err}
	for _, f := range failed {
		errs = append(errs, f)
	}
	if len(errs) == 1 {
		return err
	}
	return errors.Join(errs...)
}

// inOrder joins lists of failures in the order in which the platforms were asked for.
func inOrder(platforms platform.Set, lists ...[]stage.PlatformFailure) []stage.PlatformFailure {
	all := slices.Concat(lists...)
	at := func(f stage.PlatformFailure) int {
		return slices.IndexFunc(platforms, func(p platform.Platform) bool { return p.Normalize() == f.Platform.Normalize() })
	}
	slices.SortStableFunc(all, func(a, b stage.PlatformFailure) int { return cmp.Compare(at(a), at(b)) })
	return all
}
