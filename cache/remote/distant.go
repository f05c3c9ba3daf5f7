package remote

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// distant is a blob of a registry, a [cache.Fetcher]. Its bytes come whole, into a temporary file, when they are first read.
type distant struct {
	of     *Store
	ctx    context.Context //nolint:containedctx // that of Open, for ReadAt has none
	digest cache.Digest
	size   int64

	turn chan struct{} // held by who reads or writes file
	file *os.File      // nil before it was fetched
}

var _ cache.Fetcher = (*distant)(nil)

// Size implements [cache.Blob].
func (b *distant) Size() int64 { return b.size }

// ReadAt implements [cache.Blob].
func (b *distant) ReadAt(p []byte, off int64) (int, error) {
	f, err := b.fetch(b.ctx)
	if err != nil {
		return 0, err
	}
	return f.ReadAt(p, off)
}

// Fetch implements [cache.Fetcher].
func (b *distant) Fetch(ctx context.Context) error {
	_, err := b.fetch(ctx)
	return err
}

func (b *distant) fetch(ctx context.Context) (*os.File, error) {
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-b.turn }()
	if b.file != nil {
		return b.file, nil
	}
	rc, err := b.Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	f, err := b.of.pending.create()
	if err != nil {
		b.of.trouble.failed(ctx, err, false) // a full disk, say, is no reason to fail either
		return nil, notFound(ctx)
	}
	os.Remove(f.Name()) // where that works, nothing is left of it by a process that is killed
	readErr, writeErr := copyInto(f, rc)
	if readErr == nil && writeErr == nil {
		b.file = f
		return f, nil
	}
	f.Close()
	os.Remove(f.Name()) // where a file that is open cannot be removed
	if readErr == nil {
		b.of.trouble.failed(ctx, writeErr, false)
	}
	return nil, notFound(ctx)
}

// Stream implements [cache.Fetcher].
func (b *distant) Stream(ctx context.Context) (io.ReadCloser, error) {
	return b.of.stream(ctx, b.digest, b.size)
}

// Close implements [cache.Blob].
func (b *distant) Close() error {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.file == nil {
		return nil
	}
	f := b.file
	b.file = nil
	err := f.Close()
	os.Remove(f.Name()) // it is removed with its directory at the latest
	return err
}

// stream gives the verified bytes of a blob of the remote. Its errors and its reader's are ErrNotFound, and those of ctx.
func (s *Store) stream(ctx context.Context, d cache.Digest, size int64) (io.ReadCloser, error) {
	if s.trouble.over() {
		return nil, notFound(ctx)
	}
	inner, cancel := context.WithCancelCause(ctx)
	r := &pacedReader{of: s, ctx: ctx, inner: inner, cancel: cancel, digest: d}
	r.begin()
	rc, err := s.medium.stream(inner, descriptor(d, size))
	r.end(0)
	if err != nil {
		return nil, r.fail(err)
	}
	r.ReadCloser = rc
	return r, nil
}

// pace is how much has to arrive in each Options.Timeout.
const pace = 1 << 20

// pacedReader ends a transfer that is too slow. Only the time in which this side waits counts.
type pacedReader struct {
	io.ReadCloser
	of     *Store
	ctx    context.Context //nolint:containedctx // of who reads
	inner  context.Context //nolint:containedctx // ends when it is too slow
	cancel context.CancelCauseFunc
	digest cache.Digest

	timer  *time.Timer
	since  time.Time
	waited time.Duration // for what has arrived
	count  int64         // of it
	total  int64
	err    error
}

func (r *pacedReader) begin() {
	r.since = time.Now()
	r.timer = time.AfterFunc(r.of.options.Timeout-r.waited, func() { r.cancel(&slowError{r.of.options.Timeout}) })
}

func (r *pacedReader) end(n int) {
	r.timer.Stop()
	r.waited += time.Since(r.since)
	r.total += int64(n)
	if r.count += int64(n); r.count >= pace {
		r.count, r.waited = 0, 0
	}
}

func (r *pacedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	r.begin()
	n, err := r.ReadCloser.Read(p)
	r.end(n)
	switch {
	case err == io.EOF: //nolint:errorlint // an io.Reader's end is io.EOF itself
		r.of.trouble.fine()
		r.of.count(func(s *Stats) { s.Fetched++; s.FetchedBytes += r.total })
	case err != nil:
		err = r.fail(err)
	}
	r.err = err
	return n, err
}

// fail notes why the blob cannot be had.
func (r *pacedReader) fail(err error) error {
	r.of.miss(r.ctx, r.digest, explain(r.inner, err))
	r.cancel(nil)
	return notFound(r.ctx)
}

func (r *pacedReader) Close() error {
	err := r.ReadCloser.Close()
	r.cancel(nil)
	return err
}
