package image

import (
	"context"
	"encoding/json"
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

// Manifest returns the bytes of the manifest or of the index, and the descriptor that refers to them. The descriptor of what is no
// container image (see [NewAttachment]) has its ArtifactType, or the media type of its config where it has none, as the listing of
// referrers wants it (OCI distribution specification, "Listing Referrers").
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
	kind, err := artifactType(raw)
	if err != nil {
		return nil, v1.Descriptor{}, fmt.Errorf("manifest %s: %w", digest, err)
	}
	return raw, v1.Descriptor{MediaType: mt, Digest: digest, Size: int64(len(raw)), ArtifactType: kind}, nil
}

// artifactType tells what a manifest is of, empty for a container image or an index of them.
func artifactType(manifest []byte) (string, error) {
	var m struct {
		ArtifactType string `json:"artifactType"`
		Config       struct {
			MediaType types.MediaType `json:"mediaType"`
		} `json:"config"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return "", err
	}
	if m.ArtifactType == "" && !IsContainerConfig(m.Config.MediaType) {
		return string(m.Config.MediaType), nil
	}
	return m.ArtifactType, nil
}

// IsContainerConfig reports whether a manifest whose config has the media type is that of a container image, and not of an artifact
// that uses the same form. The first builders of Docker wrote application/octet-stream.
func IsContainerConfig(mt types.MediaType) bool {
	return mt.IsConfig() || mt == "" || mt == "application/octet-stream"
}
