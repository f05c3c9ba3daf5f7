package cache

import (
	"context"
	"errors"
	"io"
	"sync"
)

// layeredBlob is a blob of a store behind. When it is first read it is copied to the front, and read there.
type layeredBlob struct {
	ctx    context.Context //nolint:containedctx // that of Open, for ReadAt has none
	of     *Layered
	digest Digest
	size   int64

	mu   sync.Mutex
	from int    // which store behind has it, for all that is known
	open []Blob // all that are to be closed; the last is the one of that store
	near Blob   // what is read; nil before it was fetched
	has  Store  // that of near
}

var _ Fetcher = (*layeredBlob)(nil)

// Size implements [Blob].
func (b *layeredBlob) Size() int64 { return b.size }

// ReadAt implements [Blob].
func (b *layeredBlob) ReadAt(p []byte, off int64) (int, error) {
	if err := b.Fetch(b.ctx); err != nil {
		return 0, err
	}
	return b.fetched().ReadAt(p, off)
}

// Stream implements [Fetcher]. The bytes stay in the front.
func (b *layeredBlob) Stream(ctx context.Context) (io.ReadCloser, error) {
	if err := b.Fetch(ctx); err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(b.fetched(), 0, b.size)), nil
}

// Close implements [Blob].
func (b *layeredBlob) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	for _, o := range b.open {
		err = errors.Join(err, o.Close())
	}
	b.open = nil
	return err
}

func (b *layeredBlob) fetched() Blob {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.near
}

// Fetch implements [Fetcher].
func (b *layeredBlob) Fetch(ctx context.Context) error {
	if b.fetched() != nil {
		return nil
	}
	done, err := b.of.alone(ctx, b.digest)
	if err != nil {
		return err
	}
	defer done()
	if b.fetched() != nil || b.use(ctx, b.of.front) == nil {
		return nil // somebody else has copied it
	}
	for {
		err := b.copy(ctx)
		if ctxErr := ctx.Err(); ctxErr != nil {
			return ctxErr
		}
		if err == nil || !b.next(ctx) {
			return err
		}
	}
}

// use reads the blob from s from now on.
func (b *layeredBlob) use(ctx context.Context, s Store) error {
	blob, err := s.Open(ctx, b.digest)
	if err != nil {
		return err
	}
	if blob.Size() != b.size {
		blob.Close()
		return ErrNotFound // who opened it was told another size
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = append(b.open, blob)
	b.near, b.has = blob, s
	return nil
}

// last is the blob of the store behind.
func (b *layeredBlob) last() Blob {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open[len(b.open)-1]
}

// next goes on to a store further behind that has the blob, after one that has not, whatever it said.
func (b *layeredBlob) next(ctx context.Context) bool {
	for b.from++; b.from < len(b.of.behind); b.from++ {
		blob, err := b.of.behind[b.from].Open(ctx, b.digest)
		if err != nil {
			continue
		}
		b.mu.Lock()
		b.open = append(b.open, blob)
		b.mu.Unlock()
		if blob.Size() == b.size {
			return true
		}
	}
	return false
}

// copy copies the blob to the front. The error is ErrNotFound when the bytes are not to be had, and it is read where it is when the front does not take
// them.
func (b *layeredBlob) copy(ctx context.Context) error {
	w, err := b.of.front.Create(ctx)
	if err != nil {
		return b.stay(ctx)
	}
	defer w.Discard()
	src, err := stream(ctx, b.last())
	if err != nil {
		return ErrNotFound
	}
	defer src.Close()
	read := &failing{Reader: io.LimitReader(src, b.size+1)}
	if _, err := io.Copy(w, read); err != nil {
		if read.err != nil {
			return ErrNotFound
		}
		return b.stay(ctx)
	}
	_, err = w.Commit(ctx, b.digest)
	if errors.As(err, new(*CorruptError)) {
		DropBlob(ctx, b.of.behind[b.from], b.digest, b.last())
		return ErrNotFound
	}
	if err != nil || b.use(ctx, b.of.front) != nil {
		return b.stay(ctx)
	}
	return nil
}

// drop implements selfDropper, for the store whose bytes are read.
func (b *layeredBlob) drop(ctx context.Context) {
	b.mu.Lock()
	near, has := b.near, b.has
	b.mu.Unlock()
	if near != nil {
		DropBlob(ctx, has, b.digest, near)
	}
}

// stay reads the blob where it is.
func (b *layeredBlob) stay(ctx context.Context) error {
	blob := b.last()
	if f, ok := blob.(Fetcher); ok {
		if err := f.Fetch(ctx); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.near, b.has = blob, b.of.behind[b.from]
	return nil
}

// stream gives the bytes of a blob as they come.
func stream(ctx context.Context, b Blob) (io.ReadCloser, error) {
	if f, ok := b.(Fetcher); ok {
		return f.Stream(ctx)
	}
	return io.NopCloser(io.NewSectionReader(b, 0, b.Size())), nil
}

// failing remembers that it was the reading that failed.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}
