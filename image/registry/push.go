package registry

import (
	"context"
	"io"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagewright/stagewright/image"
)

// Push returns a sink that pushes to the registry, under the name ref: "registry.example.com/app:1.0". The registry defaults to docker.io
// and the tag to latest; a name that ends in a digest pushes without moving a tag, and fails unless the image has that digest. The
// name is moved last, when everything that it refers to is there.
//
// Errors are of type [*Error].
func Push(ref string) image.Sink { return PushWith(ref, Options{}) }

// PushWith is [Push] with options.
func PushWith(ref string, o Options) image.Sink {
	o.Insecure = slices.Clone(o.Insecure)
	return &sink{ref, o}
}

type sink struct {
	ref     string
	options Options
}

// String says where the sink writes.
func (s *sink) String() string { return "registry " + s.ref }

// Write implements [image.Sink].
func (s *sink) Write(ctx context.Context, a image.Artifact) error {
	r, err := s.options.parse(s.ref)
	if err != nil {
		return &Error{Op: "push", Ref: s.ref, Reason: ErrBadReference, Err: err}
	}
	digest, err := a.Digest()
	if err != nil {
		return newError(ctx, "push", r, err)
	}
	if d, ok := r.(name.Digest); ok && d.DigestStr() != digest.String() {
		return newError(ctx, "push", r, &digestError{digest})
	}
	if err := context.Cause(ctx); err != nil {
		return newError(ctx, "push", r, err)
	}
	pusher, err := remote.NewPusher(s.options.remote()...)
	if err != nil {
		return newError(ctx, "push", r, err)
	}
	var what remote.Taggable = &pushedIndex{a.Index, ctx}
	if a.Image != nil {
		what = &pushedImage{a.Image, ctx}
	}
	if err := pusher.Push(ctx, r, what); err != nil {
		return newError(ctx, "push", r, err)
	}
	return nil
}

type digestError struct{ got v1.Hash }

func (e *digestError) Error() string {
	return "the image has the digest " + e.got.String() + "; push under a tag, or under that digest"
}

// pushedImage and pushedIndex hand their layers to go-containerregistry, which calls Compressed without a context and knows layers that
// can be mounted by its own type alone.
type pushedImage struct {
	v1.Image
	ctx context.Context //nolint:containedctx // lives as long as one push
}

func (i *pushedImage) Layers() ([]v1.Layer, error) {
	layers, err := i.Image.Layers()
	if err != nil {
		return nil, err
	}
	layers = slices.Clone(layers)
	for n, l := range layers {
		layers[n] = pushable(i.ctx, l)
	}
	return layers, nil
}

func pushable(ctx context.Context, l v1.Layer) v1.Layer {
	sent := &pushedLayer{l, ctx}
	for {
		switch from := l.(type) {
		case *pulledLayer:
			return &remote.MountableLayer{Layer: sent, Reference: from.from}
		case *remote.MountableLayer:
			return &remote.MountableLayer{Layer: sent, Reference: from.Reference}
		}
		u, ok := l.(interface{ Unwrap() v1.Layer })
		if !ok {
			return sent
		}
		l = u.Unwrap()
	}
}

type pushedLayer struct {
	v1.Layer
	ctx context.Context //nolint:containedctx // lives as long as one push
}

// Compressed opens the layer and verifies it, so that wrong bytes are reported here and not as a registry's refusal.
func (l *pushedLayer) Compressed() (io.ReadCloser, error) {
	digest, err := l.Digest()
	if err != nil {
		return nil, err
	}
	size, err := l.Size()
	if err != nil {
		return nil, err
	}
	rc, err := image.OpenLayer(l.ctx, l.Layer)
	if err != nil {
		return nil, err
	}
	vr, err := image.Verify(rc, digest, size)
	if err != nil {
		rc.Close()
	}
	return vr, err
}

// index is v1.ImageIndex under a name that does not hide the method ImageIndex when it is embedded.
type index = v1.ImageIndex

type pushedIndex struct {
	index
	ctx context.Context //nolint:containedctx // lives as long as one push
}

func (x *pushedIndex) Image(h v1.Hash) (v1.Image, error) {
	img, err := x.index.Image(h)
	if err != nil {
		return nil, err
	}
	return &pushedImage{img, x.ctx}, nil
}

func (x *pushedIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	child, err := x.index.ImageIndex(h)
	if err != nil {
		return nil, err
	}
	return &pushedIndex{child, x.ctx}, nil
}

var _ v1.ImageIndex = (*pushedIndex)(nil) // or go-containerregistry would push the index without its children
