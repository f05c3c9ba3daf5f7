package local

import (
	"context"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
)

// storedBase is a base image whose layers are read from the cache where it has them, and
// else go into it when somebody reads them: a layer is fetched once in the life of the cache,
// and a build that is offline can hand it to a sink.
type storedBase struct {
	v1.Image
	s *session
}

func (b *storedBase) Layers() ([]v1.Layer, error) {
	layers, err := b.Image.Layers()
	if err != nil {
		return nil, err
	}
	stored := make([]v1.Layer, len(layers))
	for i, l := range layers {
		stored[i] = &storedLayer{l, b.s}
	}
	return stored, nil
}

// storedLayer is a layer of a storedBase.
type storedLayer struct {
	v1.Layer
	s *session
}

// Unwrap returns the layer as its image has it, so that a registry client can see where it
// comes from.
func (l *storedLayer) Unwrap() v1.Layer { return l.Layer }

func (l *storedLayer) Compressed() (io.ReadCloser, error) {
	return l.CompressedContext(context.Background())
}

func (l *storedLayer) Uncompressed() (io.ReadCloser, error) {
	compressed, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	plain, err := plainLayer(l.Layer, compressed)
	if err != nil {
		return nil, errors.Join(err, compressed.Close())
	}
	return &plainReader{plain, compressed}, nil
}

// plainReader decompresses what it closes.
type plainReader struct {
	io.ReadCloser
	compressed io.Closer
}

func (p *plainReader) Close() error { return errors.Join(p.ReadCloser.Close(), p.compressed.Close()) }

// CompressedContext is what image.OpenLayer calls.
func (l *storedLayer) CompressedContext(ctx context.Context) (io.ReadCloser, error) {
	_, digest, err := layerDigest(l.Layer)
	if err != nil {
		return nil, err
	}
	if rc, _, err := cache.NewReader(ctx, l.s.opts.Store, digest); err == nil {
		return rc, nil
	}
	size, err := l.Layer.Size()
	if err != nil {
		return nil, err
	}
	rc, err := image.OpenLayer(ctx, l.Layer)
	if err != nil {
		return nil, err
	}
	w, err := l.s.opts.Store.Create(ctx)
	if err != nil {
		return rc, nil // a cache that cannot be written to is no reason to fail
	}
	return &keeper{ctx: ctx, rc: rc, w: w, want: digest, left: size}, nil
}

// keeper writes what it reads into the cache, and keeps it there when all of it came.
type keeper struct {
	ctx  context.Context
	rc   io.ReadCloser
	w    cache.Writer
	want cache.Digest
	left int64
	done bool
}

func (k *keeper) Read(p []byte) (int, error) {
	n, err := k.rc.Read(p)
	if k.done {
		return n, err
	}
	k.left -= int64(n)
	if _, werr := k.w.Write(p[:n]); werr != nil || k.left < 0 {
		k.done = true
	} else if k.left == 0 {
		k.done = true
		_, _ = k.w.Commit(k.ctx, k.want) // of bytes that are not what they should be the reader finds out
	}
	return n, err
}

func (k *keeper) Close() error {
	k.w.Discard()
	return k.rc.Close()
}
