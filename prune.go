package stagewright

import (
	"context"
	"errors"
	"fmt"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// Usage tells what the cache takes on the disk, by kind: the one that Build uses with the same
// Options, of which CacheDir and Store count. Builds may go on meanwhile. A CacheDir that is not there is not made: the error wraps cache.ErrNoCache. The error wraps
// stage.ErrUnsupported for a Store that is not on disk, such as cache.NewMemory.
func Usage(ctx context.Context, o Options) (usage *cache.Usage, err error) {
	b := &builder{}
	if err := b.openStore(&o, true); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return local.Usage(ctx, o.Store)
}

// Prune removes from the cache what the policy asks for, the longest unused first: from the one that Build uses with the
// same Options, of which CacheDir and Store count. What a build under way uses, in any process,
// stays, and so does what an open Result has used. What was removed is made again by the next build that needs it: it
// costs time, and the images are the same. Errors are those of cache.Disk.Collect; a CacheDir that is not there is not made, and the error wraps cache.ErrNoCache; it wraps
// stage.ErrUnsupported for a Store that is not on disk.
func Prune(ctx context.Context, o Options, p cache.Policy) (done *cache.Collection, err error) {
	b := &builder{}
	if err := b.openStore(&o, true); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return local.Collect(ctx, o.Store, p)
}

// keeps reports whether Options.Keep asks for anything.
func (o Options) keeps() bool {
	return o.Keep.MaxBytes != 0 || o.Keep.MinFree != 0 || o.Keep.MaxAge != 0 || o.Keep.All
}

// checkKeep finds a policy that cannot be meant before anything is built.
func (o Options) checkKeep(ctx context.Context) error {
	if !o.keeps() {
		return nil
	}
	if o.Executor != nil {
		return errors.New("stagewright: Options.Keep goes with the default executor; the cache of Options.Executor is its own affair")
	}
	// Without a limit nothing is removed, and the rest is looked at.
	p := cache.Policy{MaxBytes: min(0, o.Keep.MaxBytes), MinFree: min(0, o.Keep.MinFree), MaxAge: min(0, o.Keep.MaxAge), Kinds: o.Keep.Kinds}
	if _, err := local.Collect(ctx, o.Store, p); err != nil {
		return fmt.Errorf("stagewright: Options.Keep: %w", err)
	}
	return nil
}

// tidy makes the cache smaller after a build, as Options.Keep says. The build is good whatever comes
// of it.
func (b *builder) tidy(ctx context.Context, o Options) {
	e, ok := b.executor.(*local.Executor)
	if !ok || !o.keeps() {
		return
	}
	p := o.Keep
	p.NoWait = true // another one is at it
	_, err := e.Collect(ctx, p)
	if err != nil && !errors.Is(err, cache.ErrLocked) && ctx.Err() == nil && o.Progress != nil {
		o.Progress(stage.Notice{Text: fmt.Sprintf("the cache could not be made smaller: %v", err)})
	}
}
