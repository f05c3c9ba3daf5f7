package local

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// Verify reads everything in a cache and compares it with what it should be, the files of
// directories of layers too, as cache.Disk.Verify does. What is damaged is removed, and is made
// again by the next build. Builds may go on meanwhile. The error wraps stage.ErrUnsupported for a
// store that cannot be verified. Of a cache.Layered its front counts.
func Verify(ctx context.Context, s cache.Store) (*cache.Scrubbing, error) {
	v, ok := front(s).(interface {
		Verify(ctx context.Context, areas ...cache.Area) (*cache.Scrubbing, error)
	})
	if !ok {
		return nil, fmt.Errorf("local: verify: %w: %T is no cache on disk", stage.ErrUnsupported, s)
	}
	list := areas(s, true)
	for i, a := range list {
		if snapshots, ok := a.(snapshotArea); ok {
			list[i] = &snapshotScrubber{snapshotArea: snapshots, index: map[tree.Digest]record{}}
		}
	}
	return v.Verify(ctx, list...)
}

// snapshotScrubber compares the directories of layers with the changes that records name.
type snapshotScrubber struct {
	snapshotArea
	index map[tree.Digest]record // of a directory: what tells of its changes, and no more
	there map[tree.Digest]bool
}

var _ cache.Scrubber = (*snapshotScrubber)(nil)

// Record implements cache.Scrubber. A step's record names its directory; that of a base layer
// is under the record's own key.
func (a *snapshotScrubber) Record(key cache.Key, data []byte) {
	var rec record
	if json.Unmarshal(data, &rec) != nil || rec.Changes.IsZero() {
		return
	}
	if !rec.Snapshot.IsZero() {
		a.index[tree.Digest(rec.Snapshot)] = record{Changes: rec.Changes, Inline: rec.Inline}
		return
	}
	if a.there == nil {
		a.there = map[tree.Digest]bool{}
		_ = a.Scan(context.Background(), func(e cache.Entry) error { // those that are not seen are compared later
			if id, ok := snapshotOf(e.ID); ok {
				a.there[id] = true
			}
			return nil
		})
	}
	if id := tree.Digest(key); a.there[id] {
		a.index[id] = record{Changes: rec.Changes}
	}
}

// Scrub implements cache.Scrubber.
func (a *snapshotScrubber) Scrub(ctx context.Context, s cache.Store, damaged func(cache.Damage)) (cache.Scrubbed, error) {
	kind := cache.Scrubbed{Kind: KindSnapshot}
	var ids []tree.Digest
	err := a.Scan(ctx, func(e cache.Entry) error {
		if id, ok := snapshotOf(e.ID); ok {
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return kind, err
	}
	store, err := snapshot.Open(a.dir, snapshot.Options{})
	if err != nil {
		return kind, err
	}
	defer store.Close()
	for _, id := range ids {
		var changes []tree.Change
		if rec, ok := a.index[id]; ok {
			changes, _ = rec.readChanges(ctx, s) // without them it is compared later
		}
		n, err := store.Scrub(ctx, id, changes)
		switch {
		case ctx.Err() != nil:
			return kind, ctx.Err()
		case errors.Is(err, snapshot.ErrNotFound):
			continue // removed meanwhile, or of another user
		case err != nil:
			damaged(cache.Damage{Kind: KindSnapshot, ID: hex.EncodeToString(id[:]), Err: err, Removed: errors.Is(err, snapshot.ErrDamaged)})
		case changes == nil:
			kind.Later++
		}
		kind.Entries++
		kind.Bytes += n
	}
	return kind, nil
}
