package local

import (
	"context"
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
	var from []string
	if r.Imported {
		from = s.repositories()
	}
	return image.NewLayer(image.LayerInfo{
		Repositories: from,
		Digest:       v1.Hash{Algorithm: "sha256", Hex: r.Digest.Hex()},
		DiffID:       v1.Hash{Algorithm: "sha256", Hex: r.DiffID.Hex()},
		Size:         r.Size,
		MediaType:    s.opts.Compression.Format.MediaType(),
		OpenContext:  func(ctx context.Context) (io.ReadCloser, error) { return s.openLayer(ctx, nil, r.Digest) },
	})
}

// maker writes the blob of a layer into the cache, and fails unless it has the digest want,
// zero for any.
type maker func(ctx context.Context, d *demand, want cache.Digest) (layerRecord, error)

// lostLayer is a layer that the cache has not got.
type lostLayer struct {
	make     maker
	imported bool
	making   bool // now, or in vain
}

// makeLater remembers how the bytes of a layer can be had that the cache has not got.
// Whoever needs none, because the destination has the layer, never makes them.
func (s *session) makeLater(l *layerRecord, m maker) {
	s.lostMu.Lock()
	defer s.lostMu.Unlock()
	if s.lost == nil {
		s.lost = map[cache.Digest]lostLayer{}
	}
	s.lost[l.Digest] = lostLayer{make: m, imported: l.Imported}
}
