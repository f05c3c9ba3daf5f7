package remote

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stagewright/stagewright/cache"
)

// renewal is after how long something that is used is written again, so that [CompactOptions].MaxAge keeps it.
const renewal = 24 * time.Hour

// uses is what this Store was asked for and had: who exports looks for a blob before he sends it.
type uses struct {
	mu      sync.Mutex
	records map[cache.Key]bool
	blobs   map[cache.Digest]bool
}

func (u *uses) record(key cache.Key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.records == nil {
		u.records = map[cache.Key]bool{}
	}
	u.records[key] = true
}

func (u *uses) blob(d cache.Digest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.blobs == nil {
		u.blobs = map[cache.Digest]bool{}
	}
	u.blobs[d] = true
}

// due are the entries that were used, and not written since a day. A flush of nothing else makes a manifest of them.
func (s *Store) due(known *reading, now int64) *index {
	s.uses.mu.Lock()
	defer s.uses.mu.Unlock()
	x := &index{}
	for key := range s.uses.records {
		if r, ok := known.record(key); ok && now-r.time >= renewal.Microseconds() {
			r.time = now
			x.records = append(x.records, r)
		}
	}
	for d := range s.uses.blobs {
		if b, ok := known.blob(d); ok && now-b.time >= renewal.Microseconds() {
			b.time = now
			x.blobs = append(x.blobs, b)
		}
	}
	return x
}

// add adds what is not in x yet.
func (x *index) add(more *index) {
	records, blobs := map[cache.Key]bool{}, map[cache.Digest]bool{}
	for _, r := range x.records {
		records[r.key] = true
	}
	for _, b := range x.blobs {
		blobs[b.digest] = true
	}
	for _, r := range more.records {
		if !records[r.key] {
			x.records = append(x.records, r)
		}
	}
	for _, b := range more.blobs {
		if !blobs[b.digest] {
			x.blobs = append(x.blobs, b)
		}
	}
}

// lost asks, side by side, for every blob of x whether it is still there.
func (s *Store) lost(ctx context.Context, x *index) (map[cache.Digest]bool, error) {
	lost := map[cache.Digest]bool{}
	var mu sync.Mutex
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(sideways)
	for _, b := range x.content() {
		g.Go(func() error {
			ok, err := s.medium.has(inner, descriptor(b.digest, b.size))
			if err == nil && !ok {
				mu.Lock()
				defer mu.Unlock()
				lost[b.digest] = true
			}
			return err
		})
	}
	return lost, g.Wait()
}
