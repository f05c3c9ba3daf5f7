package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/compress"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// layerRecord describes a compressed layer in the cache.
type layerRecord struct {
	Digest cache.Digest `json:"digest"`
	DiffID cache.Digest `json:"diffID"`
	Size   int64        `json:"size"`
	Blocks []int64      `json:"blocks"` // offset of each compressed block; see compress.Writer
	Total  int64        `json:"total"`  // bytes of the tar
	// Changes is the digest of what the layer was made of, where a step's changes are; see layerKey.
	Changes cache.Digest `json:"changes,omitzero"`
	// Imported says that the record is of another machine's cache, which had the bytes then.
	Imported bool `json:"imported,omitempty"`

	key cache.Key // where it is in the cache, once that is known
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

// layerOf finds or writes the layer of changes, whose bytes are known at a step: once, when several steps have the same. One whose digest the
// cache knows, but whose bytes it has not got any more, is made again when somebody reads it.
func (s *session) layerOf(ctx context.Context, d *demand, id int, changes []tree.Change) (*layerRecord, error) {
	of := cache.Digest(sha256.Sum256(tree.Marshal(changes)))
	key := s.layerKey(of)
	return get(ctx, s, d, task{kind: kindChanges, key: key}, func(ctx context.Context, d *demand) (*layerRecord, error) {
		rec, ok, err := load[layerRecord](ctx, s, key)
		if err != nil {
			return nil, err
		}
		rec.key, rec.Changes = key, of
		if ok && !rec.Imported && s.holds(ctx, rec.Digest) {
			return &rec, nil
		}
		write := func(ctx context.Context, d *demand, want cache.Digest) (layerRecord, error) {
			return s.writeChanges(ctx, d, id, changes, want)
		}
		if ok {
			s.makeLater(&rec, write)
			return &rec, nil
		}
		if contentSize(changes) >= sharedLayer {
			release, err := s.alone(ctx, s.steps[id], key)
			if err != nil {
				return nil, err
			}
			defer release()
			if rec, ok, err := load[layerRecord](ctx, s, key); err != nil || ok && s.holds(ctx, rec.Digest) {
				rec.key, rec.Changes = key, of
				return &rec, err
			}
		}
		if rec, err = write(ctx, d, cache.Digest{}); err != nil {
			return nil, s.layerError(id, err)
		}
		rec.key, rec.Changes = key, of
		return &rec, save(ctx, s, key, rec)
	})
}

// layerKey is where the record of a layer is, by the digest of its changes.
func (s *session) layerKey(changes cache.Digest) cache.Key {
	return cache.NewKey("layer", 1).Digest("changes", changes).String("compressor", s.opts.compressor().Name()).Sum()
}

// sharedLayer is how many bytes of files make a layer that several builds do not write at
// the same time; to write less costs little more than the lock.
const sharedLayer = 1 << 20

func contentSize(changes []tree.Change) (n int64) {
	for _, c := range changes {
		if c.Node != nil {
			n += c.Node.Size()
		}
	}
	return n
}

// layerError says that the layer of a step cannot be written, and what helps.
func (s *session) layerError(id int, err error) error {
	if _, ok := errors.AsType[*stage.Error](err); ok {
		return err // of a step that it stands on
	}
	fix := ""
	if errors.Is(err, layertar.ErrName) {
		fix = "rename the file, or remove it before the step ends; a stage whose layers are not in the image may have it"
	}
	return s.steps[id].Fail(fmt.Errorf("its layer cannot be written: %w", err), fix)
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

// writeLayer compresses a tar straight into a blob of the cache, in one pass. It fails unless the blob has the digest want, zero for any.
// What is written can be followed when follow, unless it is nil, wants that.
func (s *session) writeLayer(ctx context.Context, want cache.Digest, fill func(*compress.Writer) error, follow func(cache.Writer) *image.Growing) (rec layerRecord, blocks []compress.Block, err error) {
	w, err := s.opts.Store.Create(ctx)
	if err != nil {
		return rec, nil, err
	}
	defer w.Discard()
	blob := &sink{w: w, ctx: ctx}
	if follow != nil {
		if blob.followed = follow(w); blob.followed != nil {
			defer func() { blob.followed.Fail(err) }()
		}
	}
	compressor := compress.NewWriter(blob, s.opts.compressor())
	diffID := sha256.New()
	compressor.Tee(diffID)
	if err = errors.Join(fill(compressor), compressor.Close()); err != nil {
		return rec, nil, err
	}
	digest, err := w.Commit(ctx, want)
	if err != nil {
		return rec, nil, err
	}
	if blob.followed != nil {
		blob.followed.Finish(v1.Hash{Algorithm: "sha256", Hex: digest.Hex()})
	}
	rec = layerRecord{Digest: digest, DiffID: sum(diffID), Size: blob.n, Blocks: compressor.Blocks(), Total: compressor.Total()}
	return rec, compressor.Sums(), nil
}

func sum(h hash.Hash) cache.Digest { return cache.Digest(h.Sum(nil)) }

// sink counts bytes and stops with the context.
type sink struct {
	w   io.Writer
	ctx context.Context
	n   int64
	// followed is told how many bytes there are, nil for nobody.
	followed *image.Growing
}

func (s *sink) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.w.Write(p)
	s.n += int64(n)
	if s.followed != nil {
		s.followed.Grow(int64(n))
	}
	return n, err
}

// aheadLayer is how many bytes make a layer that is worth being sent while it is made.
const aheadLayer = 4 << 20

// ahead has the bytes of a planned layer sent while they are written, where somebody wants that and the store can do it.
func (s *session) ahead(w cache.Writer, p *layerPlan) *image.Growing {
	if s.request.Ahead == nil || p.layout.Size() < aheadLayer {
		return nil
	}
	f, ok := w.(cache.Follower)
	if !ok {
		return nil
	}
	from, err := f.Follow()
	if err != nil {
		return nil // it is sent when it is whole
	}
	g := image.NewGrowing(from, p.old != nil)
	s.request.Ahead(g)
	return g
}
