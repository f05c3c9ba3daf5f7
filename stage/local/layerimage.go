package local

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/compress"
)

// compressor is what Compression asks for.
func (o Options) compressor() compress.Options {
	c := compress.Options{Level: o.Compression.Level, Parallel: o.Parallel}
	switch o.Compression.Format {
	case image.Zstd:
		c.Format = compress.Zstd
	case image.Uncompressed:
		c.Format = compress.None
	}
	return c
}

// layerImage returns a record's layer as a lazy v1.Layer, whose bytes are verified
// when they are read. It can be read as long as the session is open.
func (s *session) layerImage(r *layerRecord) v1.Layer {
	return image.NewLayer(image.LayerInfo{
		Digest:      v1.Hash{Algorithm: "sha256", Hex: r.Digest.Hex()},
		DiffID:      v1.Hash{Algorithm: "sha256", Hex: r.DiffID.Hex()},
		Size:        r.Size,
		MediaType:   s.opts.Compression.Format.MediaType(),
		OpenContext: func(ctx context.Context) (io.ReadCloser, error) { return s.openLayer(ctx, r.Digest) },
	})
}

// maker writes the blob of a layer into the cache, and fails unless it has the digest want,
// zero for any.
type maker func(ctx context.Context, d *demand, want cache.Digest) (layerRecord, error)

// makeLater remembers how the bytes of a layer can be had that the cache has not got.
// Whoever needs none, because the destination has the layer, never makes them.
func (s *session) makeLater(digest cache.Digest, m maker) {
	s.lostMu.Lock()
	defer s.lostMu.Unlock()
	if s.lost == nil {
		s.lost = map[cache.Digest]maker{}
	}
	s.lost[digest] = m
}

// openLayer opens the blob of a layer, which is made first when the cache has lost it:
// once, however many read it.
func (s *session) openLayer(ctx context.Context, digest cache.Digest) (io.ReadCloser, error) {
	rc, _, err := cache.NewReader(ctx, s.opts.Store, digest)
	if !errors.Is(err, cache.ErrNotFound) {
		return rc, err
	}
	s.lostMu.Lock()
	again := s.lost[digest]
	s.lostMu.Unlock()
	if again == nil {
		return nil, fmt.Errorf("the cache has lost it since the build, build again: %w", err)
	}
	_, err = get(ctx, s, nil, task{kind: kindBlob, key: cache.Key(digest)}, func(ctx context.Context, d *demand) (layerRecord, error) {
		return again(ctx, d, digest)
	})
	if err != nil {
		if corrupt, ok := errors.AsType[*cache.CorruptError](err); ok {
			err = fmt.Errorf("the cache had lost it, and made again it is %s; build with NoCache: %w", corrupt.Got, err)
		}
		return nil, err
	}
	rc, _, err = cache.NewReader(ctx, s.opts.Store, digest)
	return rc, err
}
