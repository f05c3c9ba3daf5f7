package layout

import (
	"context"
	"os"

	"github.com/stagewright/stagewright/internal/filelock"
)

// lock waits until no other writer has the layout. A system or a file system that cannot lock is used without, and then alone is false; see the package comment.
func lock(ctx context.Context, dir string) (unlock func(), alone bool, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	err = filelock.Lock(ctx, d, filelock.Exclusive)
	if ctx.Err() != nil {
		d.Close()
		return nil, false, context.Cause(ctx)
	}
	return func() { d.Close() }, err == nil, nil
}
