package local

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// leased notes that a build has just got its lease.
func (e *Executor) leased() {
	now := time.Now().UnixNano()
	for {
		youngest := e.youngest.Load()
		if now <= youngest || e.youngest.CompareAndSwap(youngest, now) {
			return
		}
	}
}

// since tells snapshots when the youngest lease began.
func (e *Executor) since() time.Time { return time.Unix(0, e.youngest.Load()) }

// front is the store that keeps what an executor writes: what is kept elsewhere is not this machine's to
// mark or remove.
func front(s cache.Store) cache.Store {
	for {
		l, ok := s.(*cache.Layered)
		if !ok {
			return s
		}
		s = l.Front()
	}
}

// createdSnapshot tells the cache of a directory of a layer.
func (e *Executor) createdSnapshot(id tree.Digest, bytes int64) {
	if k, ok := front(e.opts.Store).(cache.Keeper); ok {
		k.Created(KindSnapshot, hex.EncodeToString(id[:]), bytes)
	}
}

// touchPeriod is how often an unchanged build says of everything that its image stands on that
// it is used. Nothing is removed by age that is used more often than that.
const touchPeriod = time.Hour

// touchRecord says when the steps of a graph were last marked as used.
type touchRecord struct {
	Touched int64 `json:"touched"` // in seconds since the Unix epoch
}

// touch marks what the steps of the build have in the cache as used, whether the build looked at
// them or not: else those below the last layer of an image that is built daily would be the
// oldest of all. Once that was done, the same build does no more for a while than to see that it
// was, unless now is set. It reads the records of the steps and nothing else; what cannot be read
// or marked is left out.
func (s *session) touch(ctx context.Context, now bool) error {
	store := front(s.opts.Store)
	if _, ok := store.(cache.Toucher); !ok || s.planning {
		return nil
	}
	key := s.touchKey()
	if !now {
		rec, ok, err := loadFrom[touchRecord](ctx, store, key)
		if err != nil {
			return err
		}
		if since := s.started.Sub(time.Unix(rec.Touched, 0)); ok && since >= 0 && since < touchPeriod {
			return nil
		}
	}
	u := &uses{}
	histories, _ := s.historyPlaces()
	for _, name := range slices.Compact(histories) {
		u.keys = append(u.keys, name.key())
	}
	for i, step := range s.steps {
		if !s.needed[i] || !changesFiles(step.Op) {
			continue
		}
		if op, ok := step.Op.(*stage.BaseOp); ok {
			u.keys = append(u.keys, s.recipes[i])
			s.baseUses(ctx, u, step, op)
			continue
		}
		if s.isQuick(i) {
			if o := s.quick.done[i].Load(); o != nil {
				u.addQuick(o)
				continue
			}
		}
		if err := s.stepUses(ctx, u, s.recipes[i]); err != nil {
			return err
		}
	}
	for _, t := range s.graph.Targets() {
		if !s.needed[t.Step] {
			continue
		}
		if err := s.layerUses(ctx, u, t.Step); err != nil {
			return err
		}
	}
	if err := cache.Touch(ctx, store, u.keys, u.blobs); err != nil {
		return err
	}
	if len(u.snapshots) > 0 {
		if _, snapshots, err := s.dirs(); err == nil {
			for _, id := range u.snapshots {
				snapshots.Has(tree.Digest(id))
			}
		}
	}
	return save(ctx, s, key, touchRecord{s.started.Unix()})
}

// touchKey names what the steps of a build have in the cache.
func (s *session) touchKey() cache.Key {
	b := cache.NewKey("touched", 1).String("compressor", s.opts.compressor().Name())
	for i, recipe := range s.recipes {
		if s.needed[i] {
			b.Key("step", recipe)
		}
	}
	return b.Sum()
}

// uses is what a build has in the cache.
type uses struct {
	keys      []cache.Key
	blobs     []cache.Digest
	snapshots []cache.Digest
}

func (u *uses) add(blobs ...cache.Digest) {
	for _, b := range blobs {
		if !b.IsZero() {
			u.blobs = append(u.blobs, b)
		}
	}
}

// stepUses adds what the record of a step names.
func (s *session) stepUses(ctx context.Context, u *uses, key cache.Key) error {
	rec, ok, err := loadFrom[record](ctx, front(s.opts.Store), key)
	if err != nil || !ok {
		return err
	}
	u.add(rec.Pack)
	if rec.Inline == nil {
		u.add(rec.Changes)
	}
	if rec.Layer != nil {
		u.add(rec.Layer.Digest)
	}
	if rec.Output != nil {
		u.add(rec.Output.Stdout, rec.Output.Stderr)
	}
	if !rec.Snapshot.IsZero() {
		u.snapshots = append(u.snapshots, rec.Snapshot)
	}
	if !rec.Content.IsZero() {
		u.keys = append(u.keys, rec.Content)
	}
	return nil
}

// baseUses adds the layers of a base image: their bytes, their indexes, and the packs and directories that
// were made of them. What the image is must be known already: nobody is asked for it.
func (s *session) baseUses(ctx context.Context, u *uses, step *stage.Step, op *stage.BaseOp) {
	if op.Ref == "" {
		return
	}
	img, err := s.baseImage(ctx, step, op)
	if err != nil {
		return
	}
	layers, err := img.Layers()
	if err != nil {
		return
	}
	chains, err := baseChains(layers)
	if err != nil {
		return
	}
	for i, chain := range chains {
		if rec, ok, err := loadFrom[baseRecord](ctx, front(s.opts.Store), chain); ok && err == nil {
			u.add(rec.Changes)
		}
		hash, digest, err := layerDigest(layers[i])
		if err != nil {
			continue
		}
		u.add(digest)
		if s.opts.Compression.Force {
			if rec, ok, err := loadFrom[layerRecord](ctx, front(s.opts.Store), s.recompressedKey(hash)); ok && err == nil {
				u.add(rec.Digest)
			}
		}
		u.snapshots = append(u.snapshots, cache.Digest(chain))
		if rec, ok, err := loadFrom[packRecord](ctx, front(s.opts.Store), packKey(digest)); ok && err == nil {
			u.add(rec.Pack)
		}
	}
}

// layerUses adds the layers of a target's image.
func (s *session) layerUses(ctx context.Context, u *uses, id int) error {
	chain, _ := s.chain(id)
	rec, ok, err := loadFrom[imageRecord](ctx, front(s.opts.Store), s.imageKey(id, s.units(chain)))
	if err != nil || !ok {
		return err
	}
	for _, l := range rec.Layers {
		if l != nil {
			u.add(l.Digest)
		}
	}
	u.keys = append(u.keys, rec.Keys...)
	return nil
}
