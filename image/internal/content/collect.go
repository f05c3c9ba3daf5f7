// Package content is what the media of package image share: the blobs of an artifact as a list, the rows by which an index names an
// image, and images read back out of any store of blobs. Start with [Collect] to write and [NewImage] to read.
package content

import (
	"bytes"
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
)

// MaxDepth bounds indexes that hold indexes.
const MaxDepth = 8

// Blob is one blob of an artifact.
type Blob struct {
	Digest v1.Hash
	Size   int64
	Open   func(ctx context.Context) (io.ReadCloser, error) // bytes not verified yet
}

// Collect lists every blob of a once, a blob behind all that it refers to, and the descriptor of a itself, whose blob is the last. No
// layer is opened. Layers that may not be distributed (OCI image specification, "Non-Distributable Layers") are left out, as by
// every other exporter.
func Collect(ctx context.Context, a image.Artifact) ([]Blob, v1.Descriptor, error) {
	c := &collector{seen: map[v1.Hash]bool{}}
	d, err := c.artifact(ctx, a, 0)
	return c.blobs, d, err
}

type collector struct {
	blobs []Blob
	seen  map[v1.Hash]bool
}

func (c *collector) add(b Blob) {
	if !c.seen[b.Digest] {
		c.seen[b.Digest] = true
		c.blobs = append(c.blobs, b)
	}
}

func (c *collector) bytes(d v1.Descriptor, b []byte) {
	c.add(Blob{d.Digest, int64(len(b)), func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}})
}

func (c *collector) artifact(ctx context.Context, a image.Artifact, depth int) (v1.Descriptor, error) {
	raw, d, err := a.Manifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	if err := context.Cause(ctx); err != nil {
		return v1.Descriptor{}, err
	}
	if a.Image != nil {
		err = c.image(a.Image)
	} else {
		err = c.index(ctx, a.Index, depth)
	}
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("%s: %w", d.Digest, err)
	}
	c.bytes(d, raw)
	return d, nil
}

func (c *collector) image(img v1.Image) error {
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	if len(layers) != len(m.Layers) {
		return fmt.Errorf("the manifest has %d layers, the image %d", len(m.Layers), len(layers))
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	c.bytes(m.Config, config)
	for n, d := range m.Layers {
		if d.MediaType.IsDistributable() {
			c.add(Blob{d.Digest, d.Size, func(ctx context.Context) (io.ReadCloser, error) { return image.OpenLayer(ctx, layers[n]) }})
		}
	}
	return nil
}

func (c *collector) index(ctx context.Context, x v1.ImageIndex, depth int) error {
	if depth == MaxDepth {
		return fmt.Errorf("indexes are nested more than %d deep", MaxDepth)
	}
	m, err := x.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range m.Manifests {
		child, err := Child(x, d)
		if err != nil {
			return err
		}
		if _, err := c.artifact(ctx, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// Child is what a row of an index stands for.
func Child(x v1.ImageIndex, row v1.Descriptor) (a image.Artifact, err error) {
	switch {
	case row.MediaType.IsImage():
		a.Image, err = x.Image(row.Digest)
	case row.MediaType.IsIndex():
		a.Index, err = x.ImageIndex(row.Digest)
	default:
		err = fmt.Errorf("child %s is neither an image nor an index but %q", row.Digest, row.MediaType)
	}
	return a, err
}

// Copy writes the bytes of b to w and verifies them. An error leaves w with some of them.
func (b Blob) Copy(ctx context.Context, w io.Writer) error {
	rc, err := b.Open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	vr, err := image.Verify(rc, b.Digest, b.Size)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(onlyWriter{w}, NewReader(ctx, vr), make([]byte, min(max(b.Size, 512), copyBuffer)))
	return err
}

// copyBuffer is how much is read at once, at most. io.Discard would read 8 KiB at a time, which made the reads of a layer that is only
// looked at cost a third of its hash.
const copyBuffer = 128 << 10

// onlyWriter hides what io.CopyBuffer would use instead of the buffer.
type onlyWriter struct{ io.Writer }

// NewReader returns a reader of r that fails with the cause of ctx once that has ended. It is looked at before each read: a read that
// is under way is not interrupted.
func NewReader(ctx context.Context, r io.Reader) io.Reader { return &ctxReader{ctx, r} }

// ctxReader stops between two reads when its context has ended.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives as long as what is read
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
