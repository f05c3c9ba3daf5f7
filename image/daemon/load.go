package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/internal/content"
)

// load streams the whole image to the daemon.
func (d *delivery) load(ctx context.Context) error {
	tar := newStream(ctx, d.image, d.names, d.tell)
	err := d.stream(ctx, d.api+"/images/load", url.Values{"quiet": {"1"}}, tar)
	if err := tar.finish(ctx, err); err != nil {
		return fmt.Errorf("loading the image: %w", err)
	}
	d.report.Blobs, d.report.Bytes = d.layers+2, tar.bytes
	there, missing, err := d.look(ctx)
	if err != nil {
		return err
	}
	if there == "" {
		return fmt.Errorf("it took the archive, and has no image %s now", d.ids[0])
	}
	return d.name(ctx, there, missing) // some versions take but the first name of an archive
}

// stream is an archive that is being written into a pipe.
type stream struct {
	*io.PipeReader
	bytes int64 // sent; to be read after finish
	ended chan error
}

// newStream begins to write an image. finish must be called.
func newStream(ctx context.Context, img v1.Image, names []content.Name, tell func(image.Transfer)) *stream {
	r, w := io.Pipe()
	s := &stream{PipeReader: r, ended: make(chan error, 1)}
	go func() {
		out := &content.Meter{W: w, Tell: tell, At: image.Transfer{What: "archive"}}
		err := archive.WriteDocker(ctx, out, archive.Options{}, image.Artifact{Image: img}, full(names)...)
		out.End()
		s.bytes = out.At.Done
		w.CloseWithError(err)
		s.ended <- err
	}()
	return s
}

// finish stops the writer and joins its error with that of the reader: when the archive could not be written, what the reader says of it
// does not matter, and when the reader stopped, the writer's broken pipe does not.
func (s *stream) finish(ctx context.Context, reader error) error {
	s.PipeReader.Close()
	writer := <-s.ended
	if cause := context.Cause(ctx); cause != nil && (reader != nil || writer != nil) {
		return cause
	}
	if writer != nil && !errors.Is(writer, io.ErrClosedPipe) {
		return writer
	}
	if reader == nil && writer != nil {
		return errors.New("it stopped reading before the end of the archive")
	}
	return reader
}
