package stagewright

import (
	"context"
	"errors"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// Verify does each step of a build again whose result is in the cache, and compares: with
// another time, host name and order of directories, one step after the other, with empty
// cache mounts, and where the machine's root does it, with processes that are other users on the
// host; see stage.Verify and the method Verify of local.Executor. The cache stays as
// it is, and no sink is written to. What differs is no error of Verify:
// stage.Verification has it, and its method Err names the first step and file.
func Verify(ctx context.Context, target stage.Stage, o Options) (*stage.Verification, error) {
	g, b, err := look(ctx, target, &o)
	if err != nil {
		return nil, err
	}
	v, err := stage.Verify(ctx, b.executor, g, b.request(o))
	if err := errors.Join(err, b.close()); err != nil {
		return nil, err
	}
	return v, nil
}

// VerifyCache reads everything in the cache that Build uses with the same Options, of which
// CacheDir and Store count, and compares it with what it should be: it finds what has gone wrong on
// the disk where no build has looked yet. What is damaged is removed, and is made again by the next
// build that needs it. A CacheDir that is not there is not made: the error wraps cache.ErrNoCache. The error wraps stage.ErrUnsupported for a Store that is not on disk.
func VerifyCache(ctx context.Context, o Options) (found *cache.Scrubbing, err error) {
	b := &builder{}
	if err := b.openStore(&o, true); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return local.Verify(ctx, o.Store)
}
