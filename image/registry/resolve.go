package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
	"github.com/stagewright/stagewright/platform"
)

// Resolved is what a reference stands for at the moment of asking.
type Resolved struct {
	// Ref is the whole name, pinned: "docker.io/library/alpine:3.22@sha256:…" with the digest that the tag has, which is that of the
	// index where there is one.
	Ref string

	// Digest is that of Image's manifest, for the platform asked for.
	Digest v1.Hash

	// Platform is that of Image, as its index or its config says.
	Platform platform.Platform

	// Image has its manifest and config in memory. Its layers are streamed when they are opened, by whoever opens them and under that
	// caller's context (see [image.OpenLayer]), not under the one of Resolve.
	Image v1.Image
}

// Resolve finds the image of a reference for a platform. A reference is written as for `docker pull`: the registry defaults to docker.io
// and the tag to latest. A zero platform is that of containers on this machine: its architecture, and Linux unless it runs Windows.
//
// Errors are of type [*Error].
func (c *Client) Resolve(ctx context.Context, ref string, p platform.Platform) (Resolved, error) {
	r, err := c.options.parse(ref)
	if err != nil {
		return Resolved{}, &Error{Op: "resolve", Ref: ref, Reason: ErrBadReference, Err: err}
	}
	if c.err != nil {
		return Resolved{}, newError(ctx, "resolve", r, c.err)
	}
	res, err := c.resolve(ctx, r, p)
	if err != nil {
		return Resolved{}, newError(ctx, "resolve", r, err)
	}
	return res, nil
}

func (c *Client) resolve(ctx context.Context, r name.Reference, p platform.Platform) (Resolved, error) {
	if p.IsZero() {
		p = content.HostPlatform()
	}
	src := &source{puller: c.puller, ref: r, documents: c.options.Documents}
	d, raw, err := src.top(ctx)
	if err != nil {
		return Resolved{}, err
	}
	res := Resolved{Ref: pinned(r, d.Digest), Digest: d.Digest}
	if d.MediaType.IsIndex() {
		idx, err := content.NewIndex(src, d, raw)
		if err != nil {
			return Resolved{}, err
		}
		if d, res.Platform, err = choose(idx, p); err != nil {
			return Resolved{}, err
		}
		if raw, err = content.ReadManifest(ctx, src, d); err != nil {
			return Resolved{}, err
		}
		res.Digest = d.Digest
	}
	if res.Image, err = content.NewImage(src, d, raw); err != nil {
		return Resolved{}, err
	}
	if err := content.Prepare(ctx, res.Image); err != nil {
		return Resolved{}, err
	}
	f, err := image.FileOf(res.Image)
	if err != nil {
		return Resolved{}, err
	}
	if res.Platform.IsZero() {
		res.Platform = platform.Platform{OS: f.OS, Architecture: f.Architecture, Variant: f.Variant, OSVersion: f.OSVersion}
	}
	return res, nil
}

func pinned(r name.Reference, h v1.Hash) string {
	base, _, _ := strings.Cut(display(r), "@")
	return base + "@" + h.String()
}

// choose returns the row of an index for the platform that is wanted.
func choose(idx v1.ImageIndex, want platform.Platform) (v1.Descriptor, platform.Platform, error) {
	rows, have, err := content.Platforms(idx)
	if err != nil {
		return v1.Descriptor{}, platform.Platform{}, err
	}
	n, ok := platform.Best(want, have)
	if !ok {
		return v1.Descriptor{}, platform.Platform{}, &PlatformError{Want: want, Have: have}
	}
	return rows[n], have[n], nil
}

// source reads the content of one repository.
type source struct {
	puller    *remote.Puller
	ref       name.Reference
	documents Documents // may be nil
}

// top reads what the reference names. With a digest it may be known.
func (s *source) top(ctx context.Context) (v1.Descriptor, []byte, error) {
	if pinned, ok := s.ref.(name.Digest); ok {
		if h, err := v1.NewHash(pinned.DigestStr()); err == nil {
			if raw := s.known(ctx, h); raw != nil {
				if d, err := describe(v1.Descriptor{Size: int64(len(raw)), Digest: h}, raw); err == nil {
					return d, raw, nil
				}
			}
		}
	}
	got, err := s.puller.Get(ctx, s.ref)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	d, err := describe(v1.Descriptor{MediaType: got.MediaType, Size: int64(len(got.Manifest)), Digest: got.Digest}, got.Manifest)
	if err == nil {
		s.keep(ctx, got.Digest, got.Manifest)
	}
	return d, got.Manifest, err
}

// describe finds the media type of a manifest: what its bytes say, which the digest covers, or else the header of the answer, or else
// what it looks like.
func describe(d v1.Descriptor, raw []byte) (v1.Descriptor, error) {
	var own struct {
		MediaType types.MediaType   `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &own); err != nil {
		return v1.Descriptor{}, fmt.Errorf("what it names is no manifest: %w", err)
	}
	switch {
	case own.MediaType != "":
		d.MediaType = own.MediaType
	case d.MediaType == "" && own.Manifests != nil:
		d.MediaType = types.OCIImageIndex
	case d.MediaType == "":
		d.MediaType = types.OCIManifestSchema1
	}
	if !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
		if d.MediaType.IsSchema1() {
			return v1.Descriptor{}, errors.New("it is a Docker manifest of schema 1, a format given up in 2016; pull and push it with a current docker once")
		}
		return v1.Descriptor{}, fmt.Errorf("it is not a container image but %q", d.MediaType)
	}
	return d, nil
}

// known is a document that is kept, nil when there is none with that digest.
func (s *source) known(ctx context.Context, h v1.Hash) []byte {
	if s.documents == nil {
		return nil
	}
	data, ok := s.documents.Get(ctx, h)
	if !ok || !matches(h, data) {
		return nil
	}
	return data
}

// keep keeps a document that has its digest.
func (s *source) keep(ctx context.Context, h v1.Hash, data []byte) {
	if s.documents != nil && matches(h, data) {
		_ = s.documents.Put(ctx, data) // it is asked for again then
	}
}

func matches(h v1.Hash, data []byte) bool {
	got, _, err := v1.SHA256(bytes.NewReader(data))
	return err == nil && got == h
}

// Open implements content.Source.
func (s *source) Open(ctx context.Context, d v1.Descriptor, manifest bool) (io.ReadCloser, error) {
	ref := s.ref.Context().Digest(d.Digest.String())
	document := manifest || d.MediaType.IsConfig()
	if document {
		if raw := s.known(ctx, d.Digest); raw != nil {
			return io.NopCloser(bytes.NewReader(raw)), nil
		}
	}
	if manifest {
		got, err := s.puller.Get(ctx, ref)
		if err != nil {
			return nil, newError(ctx, "pull", ref, err)
		}
		s.keep(ctx, d.Digest, got.Manifest)
		return io.NopCloser(bytes.NewReader(got.Manifest)), nil
	}
	// Asking for the blob by digest, and not through an image, leaves the descriptor's urls out of it.
	l, err := s.puller.Layer(ctx, ref)
	if err != nil {
		return nil, newError(ctx, "pull", ref, err)
	}
	rc, err := l.Compressed()
	if err != nil {
		return nil, newError(ctx, "pull", ref, err)
	}
	if !document || s.documents == nil || d.Size > image.MaxManifestSize {
		return rc, nil
	}
	defer rc.Close()
	raw, err := io.ReadAll(io.LimitReader(rc, d.Size+1)) // one byte more, which the caller refuses
	if err != nil {
		return nil, newError(ctx, "pull", ref, err)
	}
	s.keep(ctx, d.Digest, raw)
	return io.NopCloser(bytes.NewReader(raw)), nil
}

// Layer implements content.Source.
func (s *source) Layer(l v1.Layer, _ v1.Descriptor) v1.Layer { return &pulledLayer{l, s.ref} }

// pulledLayer remembers the repository that it can be mounted from.
type pulledLayer struct {
	v1.Layer
	from name.Reference
}

// CompressedContext is what image.OpenLayer calls.
func (l *pulledLayer) CompressedContext(ctx context.Context) (io.ReadCloser, error) {
	return image.OpenLayer(ctx, l.Layer)
}
