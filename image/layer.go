package image

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is the largest window that a zstd frame may ask for: RFC 8878, 3.1.1.1.2 recommends that decoders support 8 MiB, and
// `zstd --ultra -22` writes 128 MiB. It bounds the memory of a reader.
const maxZstdWindow = 128 << 20

// LayerInfo describes a layer without opening it.
type LayerInfo struct {
	Digest    v1.Hash         // of the bytes that Open gives
	DiffID    v1.Hash         // of the same bytes decompressed
	Size      int64           // number of the bytes that Open gives
	MediaType types.MediaType // types.OCILayer when empty

	// Open gives the layer as it is stored, compressed or not as MediaType says. It may be called any number of times and by several
	// goroutines at once.
	Open func() (io.ReadCloser, error)

	// OpenContext, when set, is called in place of Open. Reading what it gives fails when ctx ends: a layer that comes over a network
	// has it, so that a cancelled build does not wait for the network.
	OpenContext func(ctx context.Context) (io.ReadCloser, error)

	// Repositories are those that may have the blob: "registry.example.com/team/cache". A sink that pushes to the same registry has it
	// mounted from there rather than to open the layer. That one has not got it is no error.
	Repositories []string
}

type layer struct{ info LayerInfo }

// NewLayer returns a layer that opens nothing until its Compressed or Uncompressed method is called. Uncompressed undoes gzip and zstd,
// which it tells by their magic numbers, unless Digest is DiffID. Neither verifies what it reads: sinks do, see [Verify].
func NewLayer(info LayerInfo) v1.Layer {
	if info.MediaType == "" {
		info.MediaType = types.OCILayer
	}
	return &layer{info}
}

func (l *layer) Digest() (v1.Hash, error)            { return l.info.Digest, nil }
func (l *layer) DiffID() (v1.Hash, error)            { return l.info.DiffID, nil }
func (l *layer) Size() (int64, error)                { return l.info.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.info.MediaType, nil }
func (l *layer) Compressed() (io.ReadCloser, error)  { return l.CompressedContext(context.Background()) }

// Uncompressed takes a layer that has one digest for both forms as it is: the name of a tar's first file may begin like gzip.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	if l.info.Digest == l.info.DiffID && l.info.Digest != (v1.Hash{}) {
		return l.Compressed()
	}
	return decompress(l.Compressed())
}

// Exists answers go-containerregistry's fast validation without opening the layer.
func (l *layer) Exists() (bool, error) { return l.info.Open != nil || l.info.OpenContext != nil, nil }

// Repositories is what a registry's sink asks for.
func (l *layer) Repositories() []string { return l.info.Repositories }

// CompressedContext is what OpenLayer calls.
func (l *layer) CompressedContext(ctx context.Context) (rc io.ReadCloser, err error) {
	switch {
	case l.info.OpenContext != nil:
		rc, err = l.info.OpenContext(ctx)
	case l.info.Open != nil:
		rc, err = l.info.Open()
	default:
		err = errors.New("its bytes are not available here")
	}
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", l.info.Digest, err)
	}
	return rc, nil
}

// typedLayer is a layer of a base image under the media type that the family of the new image gives it. The bytes are the same.
type typedLayer struct {
	v1.Layer
	mediaType types.MediaType
}

func (l *typedLayer) MediaType() (types.MediaType, error) { return l.mediaType, nil }

// Unwrap returns the layer as the base image has it, so that a registry client can see where it comes from.
func (l *typedLayer) Unwrap() v1.Layer { return l.Layer }

func (l *typedLayer) CompressedContext(ctx context.Context) (io.ReadCloser, error) {
	return OpenLayer(ctx, l.Layer)
}

// OpenLayer opens the layer as it is stored, like its Compressed method. Where the layer can (those of [NewLayer] with OpenContext),
// reading stops when ctx ends.
func OpenLayer(ctx context.Context, l v1.Layer) (io.ReadCloser, error) {
	if cl, ok := l.(interface {
		CompressedContext(context.Context) (io.ReadCloser, error)
	}); ok {
		return cl.CompressedContext(ctx)
	}
	return l.Compressed()
}

type multiCloser struct {
	io.Reader
	closers []func() error
}

func (m *multiCloser) Close() error {
	var errs []error
	for _, c := range m.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// decompress undoes gzip or zstd, or nothing. It closes rc when it fails.
func decompress(rc io.ReadCloser, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	br := bufio.NewReaderSize(rc, 64<<10)
	magic, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		rc.Close()
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		zr, err := gzip.NewReader(br)
		if err != nil {
			rc.Close()
			return nil, fmt.Errorf("layer: %w", err)
		}
		return &multiCloser{zr, []func() error{zr.Close, rc.Close}}, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		zr, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			rc.Close()
			return nil, fmt.Errorf("layer: %w", err)
		}
		return &multiCloser{zr, []func() error{func() error { zr.Close(); return nil }, rc.Close}}, nil
	}
	return &multiCloser{br, []func() error{rc.Close}}, nil
}
