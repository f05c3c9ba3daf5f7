package remote

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
)

// reading is what is known of the remote.
type reading struct {
	turn chan struct{} // held by who reads it, so that waiting for it ends with a context
	done bool          // it was read, or cannot be

	mu    sync.RWMutex
	parts map[string]*part // by tag; what a tag names never changes
	lost  map[cache.Digest]bool
	view  view
}

// part is one manifest.
type part struct {
	tag    string
	digest v1.Hash
	index  *index
	size   int64 // of the index in memory
}

// view is all that is known, newest first, and made from which tags.
type view struct {
	records map[cache.Key]held[record]
	blobs   map[cache.Digest]held[blob]
	live    []*part  // whose records count
	dead    []string // tags that are there still, though a union has what they had
}

// held is something and the tag that it is from.
type held[T any] struct {
	it  T
	tag string
}

// known reads the remote, once.
func (s *Store) known(ctx context.Context) (*reading, error) {
	r := &s.reading
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-r.turn }()
	if !r.done {
		limited, cancel := context.WithTimeoutCause(ctx, s.options.Timeout, &slowError{s.options.Timeout})
		defer cancel()
		troubles, err := s.read(limited)
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		r.done = true
		if err != nil {
			s.trouble.failed(ctx, explain(limited, err), true)
		} else if len(troubles) > 0 {
			s.trouble.failed(ctx, explain(limited, troubles[0]), false)
		}
	}
	if s.trouble.over() {
		return &reading{}, nil
	}
	return r, nil
}

func (r *reading) record(key cache.Key) (record, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	h, ok := r.view.records[key]
	return h.it, ok && !r.lost[h.it.blob]
}

func (r *reading) blob(d cache.Digest) (blob, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	h, ok := r.view.blobs[d]
	return h.it, ok && !r.lost[d]
}

func (r *reading) lose(d cache.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost[d] = true
}

const (
	maxParts = 1000      // manifests that are read: the newest
	maxTotal = 128 << 20 // of their indexes
	sideways = 8         // requests at once
)

// read brings the view up to date. A manifest that cannot be read is left out, and the reason returned; err is that nothing could be read.
func (s *Store) read(ctx context.Context) (troubles []error, err error) {
	// What a compactor took away between the list and the reading is in a union that was not there yet when the list was made.
	for range 3 {
		tags, err := s.medium.tags(ctx, s.own)
		if err != nil {
			return nil, err
		}
		var missing int
		if missing, troubles, err = s.readTags(ctx, tags); err != nil {
			return nil, err
		}
		if missing == 0 {
			break
		}
	}
	return troubles, nil
}

// own reports whether a tag is one of this cache.
func (s *Store) own(tag string) bool {
	ending, ok := strings.CutPrefix(tag, s.name+"-")
	return ok && isEnding(ending)
}

func (s *Store) ending(tag string) string { return strings.TrimPrefix(tag, s.name+"-") }

// readTags reads what the tags name: first the union that was made last, which replaces most others, then the other unions, and then what no
// union replaces.
func (s *Store) readTags(ctx context.Context, tags []string) (missing int, troubles []error, err error) {
	slices.SortFunc(tags, func(a, b string) int { return strings.Compare(s.ending(b), s.ending(a)) }) // the latest first, w before u
	var unions, writers []string
	for _, tag := range tags {
		if strings.HasPrefix(s.ending(tag), "u") {
			unions = append(unions, tag)
		} else {
			writers = append(writers, tag)
		}
	}
	merged := map[string]bool{}
	var parts []*part
	round := func(tags []string) error {
		tags = slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return merged[tag] })
		if room := maxParts - len(parts); len(tags) > room {
			troubles = append(troubles, fmt.Errorf("it has more than %d manifests; the oldest are not read until they are compacted", maxParts))
			tags = tags[:room]
		}
		got, failed, err := s.readParts(ctx, tags)
		for _, p := range got {
			if p == nil {
				continue
			}
			parts = append(parts, p)
			for _, ending := range p.index.merged {
				merged[s.name+"-"+ending] = true
			}
		}
		for _, err := range failed {
			if gone(err) {
				missing++
			} else {
				troubles = append(troubles, err)
			}
		}
		return err
	}
	for _, tags := range [][]string{unions[:min(1, len(unions))], unions[min(1, len(unions)):], writers} {
		if err := round(tags); err != nil {
			return 0, nil, err
		}
	}
	s.show(tags, parts, merged)
	return missing, troubles, nil
}

// readParts reads manifests and their indexes side by side, those that are not known yet. One that cannot be read is nil, and its error among failed; err is that the time is over.
func (s *Store) readParts(ctx context.Context, tags []string) (parts []*part, failed []error, err error) {
	parts = make([]*part, len(tags))
	errs := make([]error, len(tags))
	var g errgroup.Group
	g.SetLimit(sideways)
	for n, tag := range tags {
		s.reading.mu.RLock()
		parts[n] = s.reading.parts[tag]
		s.reading.mu.RUnlock()
		if parts[n] == nil {
			g.Go(func() error {
				parts[n], errs[n] = s.readPart(ctx, tag)
				return nil
			})
		}
	}
	_ = g.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	return parts, slices.DeleteFunc(errs, func(err error) bool { return err == nil }), nil
}

func (s *Store) readPart(ctx context.Context, tag string) (*part, error) {
	raw, d, err := s.medium.manifest(ctx, tag)
	if err != nil {
		return nil, err
	}
	at, err := indexOf(raw)
	if err != nil {
		return nil, fmt.Errorf("the manifest %s: %w", tag, err)
	}
	packed, err := image.ReadVerified(ctx, at, maxIndex, func(ctx context.Context) (io.ReadCloser, error) { return s.medium.stream(ctx, at) })
	if err != nil {
		return nil, err
	}
	data, err := expand(packed, maxIndex)
	if err != nil {
		return nil, fmt.Errorf("the manifest %s: %w", tag, err)
	}
	x, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("the manifest %s: %w", tag, err)
	}
	return &part{tag: tag, digest: d.Digest, index: x, size: int64(len(data))}, nil
}

// show makes the view of parts, all of which were listed in tags.
func (s *Store) show(tags []string, parts []*part, merged map[string]bool) {
	v := view{records: map[cache.Key]held[record]{}, blobs: map[cache.Digest]held[blob]{}}
	kept := map[string]*part{}
	var total int64
	for _, p := range parts {
		if total += p.size; merged[p.tag] || total > maxTotal {
			continue
		}
		kept[p.tag] = p
		v.add(p)
	}
	for _, tag := range tags {
		if merged[tag] {
			v.dead = append(v.dead, tag)
		}
	}
	s.reading.mu.Lock()
	s.reading.view, s.reading.parts = v, kept
	s.reading.mu.Unlock()
	s.count(func(t *Stats) { t.Manifests, t.Records, t.Blobs = len(v.live), len(v.records), len(v.blobs) })
}

func (v *view) add(p *part) {
	v.live = append(v.live, p)
	for _, r := range p.index.records {
		if old, ok := v.records[r.key]; !ok || newer(r.time, p.tag, old.it.time, old.tag) {
			v.records[r.key] = held[record]{r, p.tag}
		}
	}
	for _, b := range p.index.blobs {
		if old, ok := v.blobs[b.digest]; !ok || newer(b.time, p.tag, old.it.time, old.tag) {
			v.blobs[b.digest] = held[blob]{b, p.tag}
		}
	}
}
