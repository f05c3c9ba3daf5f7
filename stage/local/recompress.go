package local

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/compress"
	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// recompressed returns a base image with its layers in the form that Options.Compression
// asks for. Those that may not be distributed stay as they are.
func (s *session) recompressed(ctx context.Context, d *demand, step *stage.Step, img v1.Image) (v1.Image, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	forms := make([]v1.Layer, len(layers))
	var inputs []dag.Input[task, any]
	var at []int
	for i, layer := range layers {
		mt, err := layer.MediaType()
		if err != nil {
			return nil, err
		}
		if !mt.IsDistributable() {
			continue
		}
		digest, err := layer.Digest()
		if err != nil {
			return nil, err
		}
		key := s.recompressedKey(digest)
		at = append(at, i)
		inputs = append(inputs, dag.Input[task, any]{
			Key: task{kind: kindRecompress, key: key},
			Task: func(ctx context.Context, d *demand) (any, error) {
				rec, err := s.recompress(ctx, d, step, layer, key)
				if err != nil {
					return nil, fmt.Errorf("compressing its layer %s again: %w", digest, err)
				}
				return rec, nil
			},
		})
	}
	all, err := d.All(ctx, inputs...)
	if err != nil {
		return nil, err
	}
	for i, rec := range all {
		forms[at[i]] = s.layerImage(rec.(*layerRecord))
	}
	return image.ReplaceLayers(img, forms)
}

func (s *session) recompressedKey(layer v1.Hash) cache.Key {
	return cache.NewKey("recompressed", 1).String("layer", layer.String()).String("compressor", s.opts.compressor().Name()).Sum()
}

// recompress finds the new form of a layer in the cache, or makes it: once in the life of
// the cache. One whose digest is known, but whose bytes the cache has lost, is made when
// it is read.
func (s *session) recompress(ctx context.Context, d *demand, step *stage.Step, layer v1.Layer, key cache.Key) (*layerRecord, error) {
	write := func(ctx context.Context, d *demand, want cache.Digest) (rec layerRecord, err error) {
		compressed, err := s.cachedLayer(ctx, step, layer)
		if err != nil {
			return rec, err
		}
		defer compressed.Close()
		err = d.Work(ctx, func(ctx context.Context) (err error) {
			rec, _, err = s.writeLayer(ctx, want, func(z *compress.Writer) error {
				plain, err := plainLayer(layer, compressed)
				if err != nil {
					return err
				}
				defer plain.Close()
				return buffered(ctx, z, func(w io.Writer) error {
					_, err := io.Copy(w, plain)
					return err
				})
			}, nil)
			return err
		})
		if err != nil {
			return rec, err
		}
		return rec, checkDiffID(layer, tree.Digest(rec.DiffID))
	}
	return shared(ctx, s, step, key, func() (*layerRecord, error) {
		rec, ok, err := load[layerRecord](ctx, s, key)
		if !ok || err != nil {
			return nil, err
		}
		if rec.Imported || !s.has(ctx, &rec) {
			s.makeLater(&rec, write)
		}
		return &rec, nil
	}, func() (*layerRecord, error) {
		rec, err := write(ctx, d, cache.Digest{})
		if err != nil {
			return nil, err
		}
		return &rec, save(ctx, s, key, rec)
	})
}
