package local

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// baseImage is a base whose layers are indexed: what each of them changed, and
// the tree after it.
type baseImage struct {
	layers []*baseLayer
}

// baseLayer is one layer on top of those below it, whatever images it is in.
type baseLayer struct {
	layer   v1.Layer
	chain   cache.Key // names the layer on top of those below it
	changes []tree.Change
	tree    *tree.Node // after the layer
	index   contentIndex
	read    *record                  // what was read now; nil when the layer was in the cache
	plain   atomic.Pointer[plainTar] // its tar, when that was kept for a directory
}

func (b *baseImage) root() *tree.Node {
	if len(b.layers) == 0 {
		return emptyRoot
	}
	return b.layers[len(b.layers)-1].tree
}

// read tells what had to be read of the base, and how many files and bytes that is.
func (b *baseImage) read() (rec record, status stage.Status) {
	status = stage.Hit
	for _, l := range b.layers {
		if l.read != nil {
			status = stage.Ran
			rec.Files += l.read.Files
			rec.Bytes += l.read.Bytes
		}
	}
	return rec, status
}

// baseRecord is what the cache knows of a base layer: what it changes on top of
// the layers below it.
type baseRecord struct {
	Changes  cache.Digest `json:"changes"`
	Imported bool         `json:"imported,omitempty"`
}

// base indexes the layers of a base image, side by side. Each layer is read once in the
// life of the cache.
func (s *session) base(ctx context.Context, d *demand, step *stage.Step) (*baseImage, error) {
	return get(ctx, s, d, task{kind: kindBase, step: step.ID}, func(ctx context.Context, d *demand) (*baseImage, error) {
		op := step.Op.(*stage.BaseOp)
		img, err := s.baseImage(ctx, step, op)
		if err != nil {
			return nil, err
		}
		layers, err := img.Layers()
		if err != nil {
			return nil, fmt.Errorf("base image %s: %w", op.Name, err)
		}
		chains, err := baseChains(layers)
		if err != nil {
			return nil, fmt.Errorf("base image %s: %w", op.Name, err)
		}
		inputs := make([]dag.Input[task, any], len(layers))
		for i := range layers {
			inputs[i] = s.baseLayerInput(step, layers, chains, i)
		}
		indexed, err := d.All(ctx, inputs...)
		if err != nil {
			return nil, err
		}
		base := &baseImage{}
		for _, l := range indexed {
			base.layers = append(base.layers, l.(*baseLayer))
		}
		return base, nil
	})
}

// baseChains names each layer on top of those below it.
func baseChains(layers []v1.Layer) ([]cache.Key, error) {
	chain := cache.NewKey("base chain", 1).Sum()
	chains := make([]cache.Key, len(layers))
	for i, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		chain = cache.NewKey("base layer", 1).Key("below", chain).String("digest", digest.String()).Sum()
		chains[i] = chain
	}
	return chains, nil
}

// baseLayerInput indexes a layer, for all images that have it on top of the same ones. The
// bytes of several layers are read at once; what a layer changes is known once those below
// it are.
func (s *session) baseLayerInput(step *stage.Step, layers []v1.Layer, chains []cache.Key, i int) dag.Input[task, any] {
	return dag.Input[task, any]{Key: task{kind: kindBaseLayer, key: chains[i]}, Task: func(ctx context.Context, d *demand) (any, error) {
		l := &baseLayer{layer: layers[i], chain: chains[i]}
		err := s.indexLayer(ctx, step, l, func() (*tree.Node, error) {
			if i == 0 {
				return emptyRoot, nil
			}
			in := s.baseLayerInput(step, layers, chains, i-1)
			below, err := d.Get(ctx, in.Key, in.Task)
			if err != nil {
				return nil, err
			}
			return below.(*baseLayer).tree, nil
		})
		if known, ok := errors.AsType[*baseError](err); ok {
			return nil, known // of a layer below
		}
		if err != nil {
			digest, _ := l.layer.Digest()
			return nil, &baseError{step.Op.(*stage.BaseOp).Name, digest, err}
		}
		return l, nil
	}}
}

// baseError is the failure of one layer of a base image.
type baseError struct {
	name  string
	layer v1.Hash
	err   error
}

func (e *baseError) Error() string {
	return fmt.Sprintf("base image %s: layer %s: %v", e.name, e.layer, e.err)
}
func (e *baseError) Unwrap() error { return e.err }

// indexLayer fills in what a layer changes, from the cache or by reading it. below gives
// the files below it.
func (s *session) indexLayer(ctx context.Context, step *stage.Step, l *baseLayer, below func() (*tree.Node, error)) error {
	_, err := shared(ctx, s, step, l.chain, func() (*baseRecord, error) {
		rec, ok, err := load[baseRecord](ctx, s, l.chain)
		if !ok || err != nil {
			return nil, err
		}
		l.changes, err = s.changes(ctx, record{Changes: rec.Changes})
		if errors.Is(err, errMissing) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		under, err := below()
		if err == nil {
			l.tree, err = tree.Apply(under, l.changes)
		}
		return &rec, err
	}, func() (*baseRecord, error) {
		plain, err := s.readLayer(ctx, step, l.layer, s.runsOn(step))
		if err != nil {
			return nil, err
		}
		s.keepPlain(l, plain)
		under, err := below()
		if err != nil {
			return nil, err
		}
		if l.tree, err = plain.index.Apply(under); err != nil {
			return nil, err
		}
		l.changes = tree.Diff(under, l.tree)
		stored := recordOf(l.changes)
		if len(l.changes) > 0 {
			if stored.Changes, err = s.putChanges(ctx, tree.Marshal(l.changes)); err != nil {
				return nil, err
			}
		}
		l.read = &stored
		rec := &baseRecord{Changes: stored.Changes}
		return rec, save(ctx, s, l.chain, rec)
	})
	return err
}

// baseFile returns the image that a step's layers stand on, nil for scratch.
func (s *session) baseFile(ctx context.Context, step *stage.Step) (v1.Image, image.File, error) {
	op := step.Op.(*stage.BaseOp)
	if op.Ref == "" {
		p := step.Platform
		return nil, image.File{Architecture: p.Architecture, OS: p.OS, Variant: p.Variant, OSVersion: p.OSVersion}, nil
	}
	img, err := s.baseImage(ctx, step, op)
	if err != nil {
		return nil, image.File{}, step.Fail(err, "")
	}
	return img, op.File.Child(), nil
}

// baseImage gets the image that the graph was compiled with: keys stand on its
// digest.
func (s *session) baseImage(ctx context.Context, step *stage.Step, op *stage.BaseOp) (v1.Image, error) {
	img, err := s.opts.Images.Image(ctx, op.Name, step.Platform)
	if err != nil {
		return nil, err
	}
	got, err := img.Digest()
	if err != nil {
		return nil, fmt.Errorf("base image %s: %w", op.Name, err)
	}
	if got.String() != op.Digest.String() {
		return nil, fmt.Errorf("base image %s has the digest %s, but was resolved to %s", op.Name, got, op.Digest)
	}
	return img, nil
}
