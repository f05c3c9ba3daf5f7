package stagewright

import (
	"context"

	"github.com/stagewright/stagewright/image/rootfs"
	"github.com/stagewright/stagewright/stage"
)

// Save writes one file, or one directory with all that is in it, out of any stage of the
// build to dest on this machine: a compiled program, a test report. The stage is that of
// the first platform, and need not be the target. What is at dest must not be there yet
// (a directory may be empty), and appears complete or not at all; see [rootfs.Save] for what
// is kept and for the errors. A stage that the build did not need is an error that wraps
// stage.ErrUnknownStage.
func (r *Result) Save(ctx context.Context, s stage.Stage, path, dest string) error {
	files, err := r.FilesOf(s)
	if err != nil {
		return err
	}
	return rootfs.Save(ctx, files, path, dest)
}
