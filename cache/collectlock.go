package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
)

// lockCollect keeps out other collectors of this directory. A dry run of a store that cannot be
// written to goes without: then the closer is nil.
func (d *Disk) lockCollect(ctx context.Context, p Policy) (io.Closer, error) {
	name := filepath.Join(d.dir, journalDir, journalLock)
	f, err := openLockFile(name)
	if err != nil {
		if p.DryRun {
			return nil, nil
		}
		return nil, d.wrap("collect", err)
	}
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		ok, err := filelock.Try(f, filelock.Exclusive)
		switch {
		case ok:
			return f, nil
		case errors.Is(err, errors.ErrUnsupported):
			return f, nil
		case err != nil:
			f.Close()
			return nil, d.wrap("collect", err)
		case p.NoWait:
			f.Close()
			return nil, d.wrap("collect", fmt.Errorf("%w: another collection is under way", ErrLocked))
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}
