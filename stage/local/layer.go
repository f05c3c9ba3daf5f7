package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/blockgz"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
)

// layerRecord describes a compressed layer in the cache.
type layerRecord struct {
	Digest cache.Digest `json:"digest"`
	DiffID cache.Digest `json:"diffID"`
	Size   int64        `json:"size"`
	Blocks []int64      `json:"blocks"` // offset of each compressed block; see blockgz
	Total  int64        `json:"total"`  // bytes of the tar
}

// layer returns the compressed layer of a step's changes, nil when it has none.
func (s *session) layer(ctx context.Context, d *demand, id int) (*layerRecord, error) {
	return get(ctx, s, d, task{kind: kindLayer, step: id}, func(ctx context.Context, d *demand) (*layerRecord, error) {
		o, err := s.outcome(ctx, d, id)
		if err != nil || len(o.changes) == 0 && !alwaysLayer(s.steps[id].Op) {
			return nil, err
		}
		// An independent step's changes have all directories above them.
		full := emptyRoot
		if !independent(s.steps[id].Op) {
			if full, err = s.tree(ctx, d, id); err != nil {
				return nil, err
			}
		}
		return s.layerOf(ctx, d, id, tree.WithParents(o.changes, full))
	})
}

// groupLayer returns the compressed layer of what several steps changed together, nil
// when that is nothing.
func (s *session) groupLayer(ctx context.Context, d *demand, u unit) (*layerRecord, error) {
	key := cache.NewKey("group", 1).Int("since", int64(u.since)).Int("step", int64(u.step)).Sum()
	return get(ctx, s, d, task{kind: kindLayer, step: u.step, key: key}, func(ctx context.Context, d *demand) (*layerRecord, error) {
		trees, err := s.trees(ctx, d, []int{u.since, u.step})
		if err != nil {
			return nil, err
		}
		changes := tree.Diff(trees[0], trees[1])
		if len(changes) == 0 {
			return nil, nil
		}
		return s.layerOf(ctx, d, u.step, tree.WithParents(changes, trees[1]))
	})
}

// layerOf finds or writes the layer of changes, whose bytes are known at a step.
func (s *session) layerOf(ctx context.Context, d *demand, id int, changes []tree.Change) (*layerRecord, error) {
	options := blockgz.Options{Level: s.opts.Level, Parallel: s.opts.Parallel}
	key := cache.NewKey("layer", 1).Digest("changes", sha256.Sum256(tree.Marshal(changes))).String("compressor", options.Name()).Sum()
	rec, ok, err := load[layerRecord](ctx, s, key)
	if err != nil {
		return nil, err
	}
	if ok && s.holds(ctx, rec.Digest) {
		return &rec, nil
	}
	open, err := s.opener(ctx, d, id, changes)
	if err != nil {
		return nil, err
	}
	err = d.Work(ctx, func(ctx context.Context) error {
		rec, err = s.writeLayer(ctx, changes, open, options)
		return err
	})
	if err != nil {
		fix := ""
		if errors.Is(err, layertar.ErrName) {
			fix = "rename the file, or remove it before the step ends; a stage whose layers are not in the image may have it"
		}
		return nil, s.steps[id].Fail(fmt.Errorf("its layer cannot be written: %w", err), fix)
	}
	return &rec, save(ctx, s, key, rec)
}

// holds reports whether the cache has a blob.
func (s *session) holds(ctx context.Context, digest cache.Digest) bool {
	b, err := s.opts.Store.Open(ctx, digest)
	if err != nil {
		return false
	}
	b.Close()
	return true
}

// writeLayer writes a layer straight from the tree's changes to a compressed blob
// in the cache, in one pass.
func (s *session) writeLayer(ctx context.Context, changes []tree.Change, open tree.Opener, o blockgz.Options) (rec layerRecord, err error) {
	w, err := s.opts.Store.Create(ctx)
	if err != nil {
		return rec, err
	}
	defer w.Discard()
	blob := &sink{w: w, ctx: ctx}
	compressor := blockgz.NewWriter(blob, o)
	diffID := sha256.New()
	tar := &sink{w: io.MultiWriter(diffID, compressor), ctx: ctx}
	buffered := bufio.NewWriterSize(tar, 1<<16)
	err = layertar.Write(buffered, changes, open)
	err = errors.Join(err, buffered.Flush(), compressor.Close())
	if err != nil {
		return rec, err
	}
	digest, err := w.Commit(ctx, cache.Digest{})
	if err != nil {
		return rec, err
	}
	return layerRecord{Digest: digest, DiffID: sum(diffID), Size: blob.n, Blocks: compressor.Blocks(), Total: tar.n}, nil
}

func sum(h hash.Hash) cache.Digest { return cache.Digest(h.Sum(nil)) }

// sink counts bytes and stops with the context.
type sink struct {
	w   io.Writer
	ctx context.Context
	n   int64
}

func (s *sink) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.w.Write(p)
	s.n += int64(n)
	return n, err
}

// image returns the record's layer as a lazy v1.Layer, whose bytes are verified
// when they are read.
func (r layerRecord) image(store cache.Store) v1.Layer {
	return image.NewLayer(image.LayerInfo{
		Digest:    v1.Hash{Algorithm: "sha256", Hex: r.Digest.Hex()},
		DiffID:    v1.Hash{Algorithm: "sha256", Hex: r.DiffID.Hex()},
		Size:      r.Size,
		MediaType: types.OCILayer,
		Open: func() (io.ReadCloser, error) {
			rc, _, err := cache.NewReader(context.Background(), store, r.Digest)
			return rc, err
		},
	})
}
