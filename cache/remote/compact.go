package remote

import (
	"context"
	"errors"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// CompactOptions says what [Store.Compact] may leave out.
type CompactOptions struct {
	// MaxAge leaves out records and blobs that nobody has written, or written again, for so long. Zero keeps all. Less than two days may
	// leave out what daily builds use: what the remote has is written again once a day.
	MaxAge time.Duration
}

// Compaction is what [Store.Compact] has done.
type Compaction struct {
	Merged  int // manifests that one union has replaced, or several
	Deleted int // manifests that were taken away, those of earlier compactions among them
	Left    int // manifests that are not needed and stay, because the registry deletes nothing
	Dropped int // records and blobs that were older than MaxAge, or that the registry had lost
	Unread  int // manifests that could not be read, and stay as they are
}

// Compact makes one manifest of many, so that the start of a reader costs few requests, and deletes what it has united where the registry lets it. It reads
// indexes only, and sends one; no blob travels. Manifests that are nearly full are left as they are.
//
// It may run beside writers, readers and other compactions: the union is there before anything is deleted; a reader leaves out what a union has replaced, and looks again when
// something was deleted between its list and its reading.
//
// Errors are those of the medium. Nothing is lost then; the next call goes on.
func (s *Store) Compact(ctx context.Context, o CompactOptions) (Compaction, error) {
	done, err := s.alone(ctx)
	if err != nil {
		return Compaction{}, err
	}
	defer done()
	return s.compact(ctx, o)
}

func (s *Store) compact(ctx context.Context, o CompactOptions) (Compaction, error) {
	troubles, err := s.reread(ctx)
	if err != nil {
		return Compaction{}, err
	}
	s.reading.mu.RLock()
	v := s.reading.view
	s.reading.mu.RUnlock()
	u := &union{store: s, view: v, done: Compaction{Unread: len(troubles)}}
	if o.MaxAge > 0 {
		u.oldest = s.now().Add(-o.MaxAge).UnixMicro()
	}
	u.choose()
	if len(u.inputs) > 0 {
		if err := u.write(ctx); err != nil {
			return u.done, err
		}
	}
	err = u.clean(ctx)
	return u.done, err
}

// reread reads what is new in the remote. Unlike the reading for a Get it fails, and may take ten times as long.
func (s *Store) reread(ctx context.Context) ([]error, error) {
	r := &s.reading
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-r.turn }()
	limited, cancel := context.WithTimeoutCause(ctx, 10*s.options.Timeout, &slowError{10 * s.options.Timeout})
	defer cancel()
	troubles, err := s.read(limited)
	r.done = r.done || err == nil
	return troubles, explain(limited, err)
}

// union is one compaction.
type union struct {
	store  *Store
	view   view
	oldest int64 // what was written before is left out
	inputs []*part
	done   Compaction
}

// choose picks what is united: what is not nearly full, and what has something too old. One alone is as good as its union.
func (u *union) choose() {
	old := false
	for _, p := range u.view.live {
		tooOld := u.has(p, func(time int64) bool { return time < u.oldest })
		old = old || tooOld
		if tooOld || p.small() {
			u.inputs = append(u.inputs, p)
		}
	}
	if len(u.inputs) == 1 && !old {
		u.inputs = nil
	}
}

// small reports whether a manifest is worth uniting with others.
func (p *part) small() bool { return len(p.index.content()) < maxBlobs/4 && p.size < maxIndex/16 }

func (u *union) has(p *part, is func(time int64) bool) bool {
	for _, r := range p.index.records {
		if is(r.time) {
			return true
		}
	}
	for _, b := range p.index.blobs {
		if is(b.time) {
			return true
		}
	}
	return false
}

// write sends the union. Where the registry refuses it, because it has lost blobs that it names, it is sent without them.
func (u *union) write(ctx context.Context) error {
	merged := make([]string, 0, len(u.inputs)+len(u.view.dead))
	v := view{records: map[cache.Key]held[record]{}, blobs: map[cache.Digest]held[blob]{}}
	for _, p := range u.inputs {
		merged = append(merged, u.store.ending(p.tag))
		v.add(p)
	}
	for _, tag := range u.view.dead {
		merged = append(merged, u.store.ending(tag))
	}
	x := &index{}
	for _, r := range v.records {
		if r.it.time >= u.oldest {
			x.records = append(x.records, r.it)
		}
	}
	for _, b := range v.blobs {
		if b.it.time >= u.oldest {
			x.blobs = append(x.blobs, b.it)
		}
	}
	u.done.Dropped = len(v.records) + len(v.blobs) - len(x.records) - len(x.blobs)
	x.sort()
	added, err := u.store.push(ctx, split(x, merged), 'u', nil)
	if err != nil && ctx.Err() == nil {
		lost, lostErr := u.store.lost(ctx, x)
		if lostErr != nil || len(lost) == 0 {
			return err
		}
		u.done.Dropped += x.without(lost)
		added, err = u.store.push(ctx, split(x, merged), 'u', nil)
	}
	if err != nil {
		return err
	}
	u.done.Merged = len(u.inputs)
	u.store.replace(u.inputs, added)
	return nil
}

// without leaves out what is in lost blobs, and reports how much that is.
func (x *index) without(lost map[cache.Digest]bool) int {
	before := len(x.records) + len(x.blobs)
	var records []record
	for _, r := range x.records {
		if !lost[r.blob] {
			records = append(records, r)
		}
	}
	var blobs []blob
	for _, b := range x.blobs {
		if !lost[b.digest] {
			blobs = append(blobs, b)
		}
	}
	x.records, x.blobs = records, blobs
	return before - len(records) - len(blobs)
}

// replace has the store know the union in place of what it united.
func (s *Store) replace(inputs, added []*part) {
	s.reading.mu.Lock()
	v := view{records: map[cache.Key]held[record]{}, blobs: map[cache.Digest]held[blob]{}, dead: s.reading.view.dead}
	gone := map[*part]bool{}
	for _, p := range inputs {
		gone[p] = true
	}
	for _, p := range s.reading.view.live {
		if !gone[p] {
			v.add(p)
		}
	}
	s.reading.view = v
	s.reading.mu.Unlock()
	s.learn(added)
}

// clean deletes what unions have replaced.
func (u *union) clean(ctx context.Context) error {
	var old []stale
	for _, p := range u.inputs {
		old = append(old, stale{p.tag, p.digest})
	}
	for _, tag := range u.view.dead {
		_, d, err := u.store.medium.manifest(ctx, tag)
		switch {
		case err == nil:
			old = append(old, stale{tag, d.Digest})
		case ctx.Err() != nil:
			return ctx.Err()
		case !gone(err):
			return err
		}
	}
	n, err := u.store.medium.remove(ctx, old)
	u.done.Deleted, u.done.Left = n, len(old)-n
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
