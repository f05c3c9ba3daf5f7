package registry

import (
	"context"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
)

// Artifact returns all that a reference stands for: an index with every platform, or an image. Only its manifest is read, and verified;
// manifests of children, configs and layers are read when they are asked for, under [Options.Timeout] where no context is given. Handed to a
// sink it is a copy: a layer that another repository of the same registry has is mounted, and one that a sink has is not read.
//
// Errors are of type [*Error].
func (c *Client) Artifact(ctx context.Context, ref string) (image.Artifact, error) {
	r, err := c.options.parse(ref)
	if err != nil {
		return image.Artifact{}, &Error{Op: "resolve", Ref: ref, Reason: ErrBadReference, Err: err}
	}
	src, err := c.source(r)
	if err != nil {
		return image.Artifact{}, newError(ctx, "resolve", r, err)
	}
	d, raw, err := src.top(ctx, known{})
	if err != nil {
		return image.Artifact{}, newError(ctx, "resolve", r, err)
	}
	var a image.Artifact
	if d.MediaType.IsIndex() {
		a.Index, err = content.NewIndex(src, d, raw)
	} else {
		a.Image, err = content.NewImage(src, d, raw)
	}
	if err != nil {
		return image.Artifact{}, newError(ctx, "resolve", r, err)
	}
	return a, nil
}
