package image

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Sink takes a finished image or index to a place.
type Sink interface {
	// Write puts a there, together with everything that it refers to. When it returns an error, the destination holds what it held
	// before, or, on a medium that cannot promise that (a registry), at most content that nothing refers to. What is there already
	// is not written again. When ctx ends, Write stops and returns an error that wraps the cause of ctx.
	//
	// Other errors are those of the medium, with the place in the message; [*ContentError] when a layer's bytes are not those of
	// its digest; and [ErrArtifact] when a does not hold exactly one of image and index.
	//
	// Write may be called several times and by several goroutines at once.
	Write(ctx context.Context, a Artifact) error
}

// SinkFunc is a function as a [Sink].
type SinkFunc func(ctx context.Context, a Artifact) error

// Write calls f.
func (f SinkFunc) Write(ctx context.Context, a Artifact) error { return f(ctx, a) }

// ErrArtifact is the error of an [Artifact] that holds neither an image nor an index, or both.
var ErrArtifact = errors.New("an artifact holds exactly one of Image and Index")

// Artifact is an image for one platform, or an index of several. Exactly one field is set.
type Artifact struct {
	Image v1.Image
	Index v1.ImageIndex
}

// described is what an image and an index have in common.
type described interface {
	MediaType() (types.MediaType, error)
	Digest() (v1.Hash, error)
	RawManifest() ([]byte, error)
}

func (a Artifact) described() (described, error) {
	switch {
	case a.Image != nil && a.Index == nil:
		return a.Image, nil
	case a.Index != nil && a.Image == nil:
		return a.Index, nil
	}
	return nil, ErrArtifact
}

// Digest returns the digest of the manifest or of the index. It opens no layer.
func (a Artifact) Digest() (v1.Hash, error) {
	d, err := a.described()
	if err != nil {
		return v1.Hash{}, err
	}
	return d.Digest()
}

// Manifest returns the bytes of the manifest or of the index, and the descriptor that refers to them.
func (a Artifact) Manifest() ([]byte, v1.Descriptor, error) {
	d, err := a.described()
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	raw, err := d.RawManifest()
	if err != nil {
		return nil, v1.Descriptor{}, fmt.Errorf("reading a manifest: %w", err)
	}
	mt, err := d.MediaType()
	if err != nil {
		return nil, v1.Descriptor{}, fmt.Errorf("reading a manifest: %w", err)
	}
	digest, err := d.Digest()
	if err != nil {
		return nil, v1.Descriptor{}, fmt.Errorf("reading a manifest: %w", err)
	}
	return raw, v1.Descriptor{MediaType: mt, Digest: digest, Size: int64(len(raw))}, nil
}
