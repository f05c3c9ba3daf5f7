package registry

import (
	"context"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
	"github.com/stagewright/stagewright/platform"
)

// Resolved is what a reference stands for at the moment of asking.
type Resolved struct {
	// Ref is the whole name, pinned: "docker.io/library/alpine:3.22@sha256:…" with the digest that the tag has, which is that of the
	// index where there is one. A tag that stands before a digest stays: what a pinned name was resolved to is the same name.
	Ref string

	// Digest is that of Image's manifest, for the platform asked for.
	Digest v1.Hash

	// Platform is that of Image, as its index or its config says.
	Platform platform.Platform

	// Image has its manifest and config in memory. Its layers are streamed when they are opened, by whoever opens them and under that
	// caller's context (see [image.OpenLayer]), not under the one of Resolve.
	Image v1.Image

	// Direct is how the registry was spoken to, "https" or "http", when it wanted no login; empty when it does, or was not asked.
	// It is for [Client.ResolveKnown].
	Direct string
}

// Resolve finds the image of a reference for a platform. A reference is written as for `docker pull`: the registry defaults to docker.io
// and the tag to latest. A zero platform is that of containers on this machine: its architecture, and Linux unless it runs Windows.
//
// Errors are of type [*Error].
func (c *Client) Resolve(ctx context.Context, ref string, p platform.Platform) (Resolved, error) {
	return c.resolveRef(ctx, ref, known{}, p)
}

func (c *Client) resolveRef(ctx context.Context, ref string, was known, p platform.Platform) (Resolved, error) {
	r, err := c.options.parse(ref)
	if err != nil {
		return Resolved{}, &Error{Op: "resolve", Ref: ref, Reason: ErrBadReference, Err: err}
	}
	res, err := c.resolve(ctx, r, was, p)
	if err != nil {
		return Resolved{}, newError(ctx, "resolve", r, err)
	}
	if tagged, _, ok := strings.Cut(ref, "@"); ok && strings.Contains(path.Base(tagged), ":") {
		if t, err := c.options.parse(tagged); err == nil {
			res.Ref = display(t) + res.Ref[strings.IndexByte(res.Ref, '@'):]
		}
	}
	return res, nil
}

func (c *Client) resolve(ctx context.Context, r name.Reference, was known, p platform.Platform) (Resolved, error) {
	if p.IsZero() {
		p = content.HostPlatform()
	}
	src, err := c.source(r)
	if err != nil {
		return Resolved{}, err
	}
	d, raw, err := src.top(ctx, was)
	if err != nil {
		return Resolved{}, err
	}
	res := Resolved{Ref: pinned(r, d.Digest), Digest: d.Digest, Direct: src.origin.host.direct(ctx)}
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
