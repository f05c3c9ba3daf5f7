package local

import (
	"context"
	"encoding/hex"
	"path/filepath"
	"slices"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/snapshot"
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
// was, unless now is set. What cannot be read or marked is left out.
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
	list := cache.NewKey("uses", usesVersion).Key("of", key).Sum()
	u, known, err := s.knownUses(ctx, store, list)
	if err != nil {
		return err
	}
	mark := func() (err error) {
		if !known {
			if u, err = s.readUses(ctx, store, list); err != nil {
				return err
			}
		}
		if err := s.markUses(ctx, store, u); err != nil {
			return err
		}
		return save(ctx, s, key, touchRecord{s.started.Unix()})
	}
	if !now {
		s.marking.Go(func() { _ = mark() }) // beside what becomes of the result
		return nil
	}
	return mark()
}

// touchKey names what the steps of a build have in the cache.
func (s *session) touchKey() cache.Key {
	b := cache.NewKey("touched", 2).String("compressor", s.opts.compressor().Name()).Bool("force", s.opts.Compression.Force)
	for i, recipe := range s.recipes {
		if !s.needed[i] {
			continue
		}
		b.Key("step", recipe)
		if op, ok := s.steps[i].Op.(*stage.LayerOp); ok {
			b.Int("since", int64(op.Since))
		}
	}
	return b.Sum()
}

// recordToucher is a store that can tell that records are as they were. See cache.Disk.TouchRecords.
type recordToucher interface {
	TouchRecords(ctx context.Context, keys []cache.Key) (state cache.Digest, err error)
}

// knownUses marks the records that tell what the build uses, and loads what an earlier build of the same steps has read out of them, if
// they are still the same.
func (s *session) knownUses(ctx context.Context, store cache.Store, list cache.Key) (u *uses, ok bool, err error) {
	disk, tells := store.(recordToucher)
	if !tells {
		return nil, false, nil
	}
	if u, ok = loadUses(ctx, store, list); !ok {
		return nil, false, ctx.Err()
	}
	state, err := disk.TouchRecords(ctx, u.sources)
	return u, err == nil && state == u.state, err
}

// readUses reads what the build uses out of the records of its steps, and marks these.
func (s *session) readUses(ctx context.Context, store cache.Store, list cache.Key) (*uses, error) {
	u := &uses{}
	read := s.usedRecords(ctx, u)
	disk, tells := store.(recordToucher)
	if tells {
		var err error
		if u.state, err = disk.TouchRecords(ctx, u.sources); err != nil { // before they are read
			return nil, err
		}
	}
	for _, r := range read {
		if err := r(); err != nil {
			return nil, err
		}
	}
	if tells {
		_ = s.opts.Store.Put(ctx, list, u.encode()) // without it they are read again
	}
	return u, nil
}

// markUses marks what there is beside the records that tell of it.
func (s *session) markUses(ctx context.Context, store cache.Store, u *uses) error {
	keys := u.keys
	histories, _ := s.historyPlaces()
	for _, name := range slices.Compact(histories) {
		keys = append(keys, name.key())
	}
	if err := cache.Touch(ctx, store, keys, u.blobs); err != nil {
		return err
	}
	if len(u.snapshots) > 0 {
		if dir, err := s.privateDir(); err == nil {
			snapshot.Use(ctx, filepath.Join(dir, snapshotsDir), s.since(), u.snapshots)
		}
	}
	return ctx.Err()
}
