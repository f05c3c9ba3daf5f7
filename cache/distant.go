package cache

import (
	"context"
	"errors"
	"io"
)

// Fetcher is a [Blob] whose bytes are elsewhere until somebody reads them. Its
// ReadAt fetches them too, under the context that was given to Open; when they
// cannot be had any more, it returns [ErrNotFound]. Whoever can still do
// without the blob calls Fetch before he reads: [NewReader] does.
type Fetcher interface {
	// Fetch brings the bytes here, so that ReadAt finds them.
	// Errors: [ErrNotFound] when they cannot be had; the context's.
	Fetch(ctx context.Context) error

	// Stream returns the bytes as they arrive, from the first to the last, and
	// keeps none. Its errors, and those of its reader, are those of Fetch;
	// bytes that are not those of the digest may be found at the end only.
	Stream(ctx context.Context) (io.ReadCloser, error)
}

// Flusher is a [Store] that gathers what is written and brings it to its place
// at once, when it is told to. Use [Flush].
type Flusher interface {
	// Flush brings everything that was put and committed before to its place.
	// After an error others see nothing of it, and it can be called again.
	Flush(ctx context.Context) error
}

// Flush has s bring to its place what it has gathered. For a store that is no
// [Flusher] everything is there already.
func Flush(ctx context.Context, s Store) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f, ok := s.(Flusher); ok {
		return f.Flush(ctx)
	}
	return nil
}

// Taker is a [Flusher] that takes a blob of another store by name, and reads
// it there when it is flushed. Use [CopyBlob].
type Taker interface {
	// Take does as if the bytes of the blob d in from were written and
	// committed. They must stay there until the next Flush.
	// Errors: [ErrNotFound] when from does not have the blob.
	Take(ctx context.Context, from Store, d Digest) error
}

// CopyBlob has the store to have the blob d of the store from. What is there
// already is not read; a [Taker] reads it later; what is elsewhere passes by as a
// stream (see [Fetcher]). The bytes are verified.
//
// Errors: [ErrNotFound] when from does not have the blob; [*CorruptError] when
// it has other bytes under the digest; those of the store's Create, Write and
// Commit.
func CopyBlob(ctx context.Context, to, from Store, d Digest) error {
	switch there, err := to.Open(ctx, d); {
	case err == nil:
		return there.Close()
	case !errors.Is(err, ErrNotFound):
		return err
	}
	if t, ok := to.(Taker); ok {
		return t.Take(ctx, from, d)
	}
	blob, err := from.Open(ctx, d)
	if err != nil {
		return err
	}
	defer blob.Close()
	r, err := stream(ctx, blob)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := to.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Discard()
	if _, err := io.Copy(w, &bounded{ctx, io.LimitReader(r, blob.Size()+1)}); err != nil {
		return err
	}
	_, err = w.Commit(ctx, d)
	if errors.As(err, new(*CorruptError)) {
		DropBlob(ctx, from, d, blob)
	}
	return err
}

// bounded ends a copy when its context does.
type bounded struct {
	ctx context.Context //nolint:containedctx // that of one copy
	io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}
