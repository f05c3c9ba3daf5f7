package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// Store is a [cache.Store] on a remote medium. What is written is gathered, and seen by this Store alone, until [Store.Flush].
type Store struct {
	medium  medium
	title   string
	name    string
	options Options
	now     func() time.Time

	trouble trouble
	reading reading
	pending pending
	uses    uses
	sending chan struct{} // held by who flushes or compacts

	mu    sync.Mutex
	stats Stats
}

var (
	_ cache.Store   = (*Store)(nil)
	_ cache.Dropper = (*Store)(nil)
	_ cache.Flusher = (*Store)(nil)
	_ cache.Taker   = (*Store)(nil)
)

// Stats is what a [Store] has moved.
type Stats struct {
	Manifests, Records, Blobs int // that the remote had when it was last read, and what was sent since

	Fetched      int   // blobs, long records among them, that were downloaded; indexes are not counted
	FetchedBytes int64 // of those
	Sent         int   // blobs that were sent, indexes among them
	SentBytes    int64 // of those
	Skipped      int   // blobs that were to be sent, and were there
}

// String names the cache and where it is.
func (s *Store) String() string { return s.title }

// Stats tells what the store has moved so far.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *Store) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// Get implements [cache.Store].
func (s *Store) Get(ctx context.Context, key cache.Key) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r := s.pending.record(key); r != nil {
		return append([]byte{}, r.data...), nil
	}
	known, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	r, ok := known.record(key)
	if !ok {
		return nil, cache.ErrNotFound
	}
	s.uses.record(key)
	if r.blob.IsZero() {
		return append([]byte{}, r.data...), nil
	}
	return s.long(ctx, r)
}

// long fetches a record that is in a blob.
func (s *Store) long(ctx context.Context, r record) ([]byte, error) {
	rc, err := s.stream(ctx, r.blob, r.size)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	var data bytes.Buffer
	data.Grow(int(r.size) + bytes.MinRead)
	if _, err := data.ReadFrom(rc); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// Put implements [cache.Store]: the record is sent by the next Flush.
func (s *Store) Put(ctx context.Context, key cache.Key, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(data) > cache.MaxRecord {
		return fmt.Errorf("%w: record of %d bytes, at most %d; put it in a blob and let the record name that", cache.ErrTooLarge, len(data), cache.MaxRecord)
	}
	return s.wrap(s.pending.putRecord(&record{key: key, time: s.now().UnixMicro(), data: append([]byte{}, data...)}))
}

// Open implements [cache.Store]. A blob of a registry is a [cache.Fetcher].
func (s *Store) Open(ctx context.Context, d cache.Digest) (cache.Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if w := s.pending.blob(d); w != nil {
		if b, err := w.open(ctx, d); err == nil || ctx.Err() != nil {
			return b, err
		}
	}
	known, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	b, ok := known.blob(d)
	if !ok {
		return nil, cache.ErrNotFound
	}
	s.uses.blob(d)
	desc := descriptor(d, b.size)
	near, err := s.medium.local(ctx, desc)
	switch {
	case near != nil:
		return near, nil
	case err != nil:
		s.miss(ctx, d, err)
		return nil, notFound(ctx)
	}
	return &distant{of: s, ctx: ctx, digest: d, size: b.size, turn: make(chan struct{}, 1)}, nil
}

// Create implements [cache.Store]: the blob is sent by the next Flush.
func (s *Store) Create(ctx context.Context) (cache.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w, err := s.newWriter()
	if err != nil {
		return nil, s.wrap(err)
	}
	return w, nil
}

// Take implements [cache.Taker].
func (s *Store) Take(ctx context.Context, from cache.Store, d cache.Digest) error {
	b, err := from.Open(ctx, d)
	if err != nil {
		return err
	}
	size := b.Size()
	if err := b.Close(); err != nil {
		return err
	}
	return s.wrap(s.pending.add(d, &waiting{size: size, from: from}))
}

// Drop implements [cache.Dropper]: this Store does not find the blob any more, until it is written again. In the remote it stays.
func (s *Store) Drop(ctx context.Context, d cache.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.reading.lose(d)
	return s.wrap(s.pending.drop(d))
}

// Close removes what waits to be sent, and the temporary directory. After it writing fails with fs.ErrClosed. A second Close does nothing.
func (s *Store) Close() error { return s.wrap(s.pending.close()) }

func (s *Store) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", s.title, err)
}

// miss notes why a blob could not be had.
func (s *Store) miss(ctx context.Context, d cache.Digest, err error) {
	if ctx.Err() != nil {
		return
	}
	s.reading.lose(d)
	if !gone(err) {
		s.trouble.failed(ctx, err, false)
	}
}

// notFound is what reading fails with, whatever the reason.
func notFound(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return cache.ErrNotFound
}

// copyInto copies, and tells apart which side has failed.
func copyInto(f io.Writer, r io.Reader) (readErr, writeErr error) {
	from := &reader{Reader: r}
	_, err := io.Copy(f, from)
	if from.err != nil {
		return from.err, nil
	}
	return nil, err
}

// reader remembers that it was the reading that failed.
type reader struct {
	io.Reader
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
