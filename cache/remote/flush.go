package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
)

// Flush implements [cache.Flusher]: it sends the blobs that the remote does not have, the largest first, and then one manifest that names what is new; several
// when there are more than 4,000 blobs, the records in the last ones. What the remote has already is neither sent nor named; when that is all,
// nothing is sent. The remote is read before, if it was not. What it has for more than a day, and this Store was asked for or given again, is named again, so that
// [CompactOptions].MaxAge keeps what is in use.
//
// Errors are those of the medium: *[registry.Error], or of the file system. Nobody sees a record of what failed, and another Flush goes on with what is missing.
func (s *Store) Flush(ctx context.Context) error {
	done, err := s.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	records, blobs := s.pending.snapshot()
	x, sources, err := s.fresh(ctx, records, blobs)
	if err != nil {
		return err
	}
	if len(x.records)+len(x.blobs) > 0 {
		added, err := s.push(ctx, split(x, nil), 'w', sources)
		if err != nil {
			return err
		}
		s.learn(added)
	}
	s.pending.sent(records, blobs)
	if s.options.CompactAfter > 0 && s.smallCount() > s.options.CompactAfter {
		if _, err := s.compact(ctx, CompactOptions{}); err != nil && ctx.Err() == nil {
			s.trouble.note(fmt.Errorf("everything was sent, and is in more manifests than need be: %w", err))
		}
	}
	return ctx.Err()
}

// alone waits for other flushes and compactions of this Store.
func (s *Store) alone(ctx context.Context) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case s.sending <- struct{}{}:
		return func() { <-s.sending }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Store) smallCount() (n int) {
	s.reading.mu.RLock()
	defer s.reading.mu.RUnlock()
	for _, p := range s.reading.view.live {
		if p.small() {
			n++
		}
	}
	return n
}

// source opens what is to be sent.
type source func(context.Context) (io.ReadCloser, error)

func bytesSource(data []byte) source {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// fresh is what of the pending the remote does not have, and where its blobs are.
func (s *Store) fresh(ctx context.Context, records []*record, blobs map[cache.Digest]*waiting) (*index, map[cache.Digest]source, error) {
	s.uses.mu.Lock()
	nothing := len(records)+len(blobs)+len(s.uses.records)+len(s.uses.blobs) == 0
	s.uses.mu.Unlock()
	if nothing {
		return &index{}, nil, nil
	}
	known, err := s.known(ctx)
	if err != nil {
		return nil, nil, err
	}
	now := s.now().UnixMicro()
	x, sources := &index{}, map[cache.Digest]source{}
	for _, r := range records {
		add := *r
		if len(r.data) > maxInline {
			add.blob, add.size, add.data = digestOf(r.data), int64(len(r.data)), nil
		}
		old, ok := known.record(r.key)
		if ok && now-old.time < renewal.Microseconds() && old.blob == add.blob && bytes.Equal(old.data, add.data) {
			continue
		}
		if ok && add.time <= old.time { // by a clock that is ahead: what is put last counts
			add.time = min(old.time+1, maxTime)
		}
		if !add.blob.IsZero() {
			sources[add.blob] = bytesSource(r.data)
		}
		x.records = append(x.records, add)
	}
	for d, w := range blobs {
		if old, ok := known.blob(d); ok && now-old.time < renewal.Microseconds() && old.size == w.size {
			continue
		}
		x.blobs = append(x.blobs, blob{digest: d, time: now, size: w.size})
		sources[d] = func(ctx context.Context) (io.ReadCloser, error) { return w.reader(ctx, d) }
	}
	if due := s.due(known, now); len(due.records)+len(due.blobs) > 0 {
		lost, err := s.lost(ctx, due)
		if err != nil {
			return nil, nil, err
		}
		for d := range lost {
			s.reading.lose(d)
		}
		due.without(lost)
		x.add(due)
	}
	x.sort()
	return x, sources, nil
}

// split divides an index into those of manifests of bounded size: blobs before records, and what it replaces in the last one, which is always there.
func split(x *index, merged []string) []*index {
	var parts []*index
	for blobs := range slices.Chunk(x.blobs, maxBlobs/2) {
		parts = append(parts, &index{blobs: blobs})
	}
	for rest := x.records; len(rest) > 0; {
		n, long, size := 0, 0, 0
		for n < len(rest) && long < maxBlobs/2 && size < maxIndex/4 {
			if size += 64 + len(rest[n].data); !rest[n].blob.IsZero() {
				long++
			}
			n++
		}
		if last := len(parts) - 1; last >= 0 && len(parts[last].records) == 0 {
			parts[last].records = rest[:n]
		} else {
			parts = append(parts, &index{records: rest[:n]})
		}
		rest = rest[n:]
	}
	if len(parts) == 0 {
		parts = append(parts, &index{})
	}
	parts[len(parts)-1].merged = merged
	for _, p := range parts {
		p.sort()
	}
	return parts
}

// push sends the manifests one after the other. The last has the kind that is given, others are a writer's.
func (s *Store) push(ctx context.Context, list []*index, kind byte, sources map[cache.Digest]source) ([]*part, error) {
	var added []*part
	for n, x := range list {
		last := byte('w')
		if n == len(list)-1 {
			last = kind
		}
		p, err := s.pushPart(ctx, x, s.name+"-"+newEnding(last, s.now()), sources)
		if err != nil {
			return nil, err
		}
		added = append(added, p)
	}
	return added, nil
}

func (s *Store) pushPart(ctx context.Context, x *index, tag string, sources map[cache.Digest]source) (*part, error) {
	data := x.encode()
	packed, err := compress(data)
	if err != nil {
		return nil, err
	}
	var first error
	for _, plain := range []bool{false, true} {
		raw, d, err := manifest(tag, s.now(), packed, x, plain)
		if err != nil {
			return nil, err
		}
		blobs := []image.Blob{bytesBlob(packed)}
		if plain {
			blobs = append(blobs, bytesBlob([]byte(imageConfig)))
		} else {
			blobs = append(blobs, bytesBlob([]byte(emptyConfig)))
		}
		for _, b := range x.content() {
			if open := sources[b.digest]; open != nil {
				blobs = append(blobs, image.Blob{Digest: ociHash(b.digest), Size: b.size, Open: open})
			}
		}
		sent, err := s.medium.put(ctx, tag, d, raw, blobs)
		s.count(func(t *Stats) { t.Sent += sent.Blobs; t.SentBytes += sent.Bytes; t.Skipped += sent.Skipped })
		if err == nil {
			return &part{tag: tag, digest: d.Digest, index: x, size: int64(len(data))}, nil
		}
		if first == nil {
			first = err
		}
		if !dislikes(ctx, err) {
			break
		}
	}
	return nil, first
}

// dislikes reports whether a registry may have refused the manifest for what it is, and take another form.
func dislikes(ctx context.Context, err error) bool {
	var refused *registry.Error
	return ctx.Err() == nil && errors.As(err, &refused) && refused.Refused()
}

func bytesBlob(data []byte) image.Blob {
	return image.Blob{Digest: ociHash(digestOf(data)), Size: int64(len(data)), Open: bytesSource(data)}
}

// learn adds manifests that this Store has sent to what it knows.
func (s *Store) learn(added []*part) {
	s.reading.mu.Lock()
	defer s.reading.mu.Unlock()
	v := &s.reading.view
	if v.records == nil {
		v.records, v.blobs = map[cache.Key]held[record]{}, map[cache.Digest]held[blob]{}
	}
	for _, p := range added {
		s.reading.parts[p.tag] = p
		v.add(p)
		for _, b := range p.index.content() {
			delete(s.reading.lost, b.digest)
		}
	}
	live, records, blobs := len(v.live), len(v.records), len(v.blobs)
	s.count(func(t *Stats) { t.Manifests, t.Records, t.Blobs = live, records, blobs })
}
