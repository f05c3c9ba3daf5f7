package stagewright

import (
	"context"
	"errors"

	"github.com/stagewright/stagewright/stage"
)

// Verify does each step of a build again whose result is in the cache, and compares: with
// another time, host name and order of directories, one step after the other, and with empty
// cache mounts; see stage.Verify and the method Verify of local.Executor. The cache stays as
// it is, and no sink is written to. What differs is no error of Verify:
// stage.Verification has it, and its method Err names the first step and file.
func Verify(ctx context.Context, target stage.Stage, o Options) (*stage.Verification, error) {
	g, b, err := compile(ctx, target, &o)
	if err != nil {
		return nil, err
	}
	v, err := stage.Verify(ctx, b.executor, g, b.request(o))
	if err := errors.Join(err, b.close()); err != nil {
		return nil, err
	}
	return v, nil
}
