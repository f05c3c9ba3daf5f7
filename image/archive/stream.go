package archive

import (
	"context"
	"fmt"
	"io"

	"github.com/stagewright/stagewright/image"
)

// WriteDocker writes to w the bytes that [DockerWith] writes to a file: the input of `docker load`. When it fails, w has some of them, and
// whoever reads them must be told.
func WriteDocker(ctx context.Context, w io.Writer, o Options, a image.Artifact, refs ...string) error {
	s := &sink{refs: refs, options: o, docker: true}
	t, err := s.tarball(ctx, a)
	if err == nil {
		err = t.writeTo(ctx, w)
	}
	if err != nil {
		return fmt.Errorf("docker archive: %w", err)
	}
	return nil
}
