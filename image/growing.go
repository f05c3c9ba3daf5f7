package image

import (
	"context"
	"errors"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Ahead is a [Sink] that can send a layer while it is made, before it is known what the layer's digest is and what image it will be in.
type Ahead interface {
	Sink

	// Ahead begins to send what g comes to, and returns at once. What was sent refers to nothing, and nothing refers to it, until a
	// Write or Deliver of an image with the layer makes use of it; without one the destination forgets it. No error is told: a Write
	// sends what is not there.
	//
	// The caller calls end when no Write comes any more, and closes g after that. It ends what is under way, and waits for that.
	Ahead(ctx context.Context, g *Growing) (end func())
}

// Growing is the compressed bytes of a layer that is being made: one goroutine tells how far they have come, and any number read them
// beside it, each at its own pace, without holding it up.
type Growing struct {
	from   GrowingSource
	edited bool

	mu     sync.Mutex
	moved  chan struct{} // closed when what follows changes
	size   int64
	digest v1.Hash // when the bytes are whole
	err    error   // when they will never be
}

// GrowingSource is where the bytes of a [Growing] are, an *os.File for instance.
type GrowingSource interface {
	io.ReaderAt
	io.Closer
}

// NewGrowing returns a Growing of what can be read in from, of which nothing is there yet. Edited says that the bytes are those of a layer
// that was another one before, so that nobody is likely to have them.
func NewGrowing(from GrowingSource, edited bool) *Growing {
	return &Growing{from: from, edited: edited, moved: make(chan struct{})}
}

// Edited reports whether the bytes are those of a layer that was another one in an earlier build here. Those of others may be anywhere.
func (g *Growing) Edited() bool { return g.edited }

// Grow says that n more bytes can be read.
func (g *Growing) Grow(n int64) { g.change(func() { g.size += n }) }

// Finish says that the bytes are whole, and what their digest is.
func (g *Growing) Finish(digest v1.Hash) { g.change(func() { g.digest = digest }) }

// Fail says that the bytes will never be whole. After Finish it does nothing.
func (g *Growing) Fail(err error) {
	if err == nil {
		err = errors.New("image: a layer was not made")
	}
	g.change(func() { g.err = err })
}

func (g *Growing) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over() {
		return
	}
	f()
	close(g.moved)
	g.moved = make(chan struct{})
}

// over reports whether nothing changes any more.
func (g *Growing) over() bool { return g.err != nil || g.digest != (v1.Hash{}) }

// Digest returns the digest and the size of the bytes, once they are whole.
func (g *Growing) Digest() (digest v1.Hash, size int64, whole bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.digest, g.size, g.digest != (v1.Hash{})
}

// Close closes what the bytes are read in. Nobody may read any more.
func (g *Growing) Close() error { return g.from.Close() }

// Reader reads the bytes from the first on. Read waits for bytes that are not there yet; io.EOF is the end of what is whole. Other errors are
// that of Fail, the context's cause, and those of reading. It is for one goroutine at a time.
func (g *Growing) Reader(ctx context.Context) io.Reader { return &growingReader{g: g, ctx: ctx} }

type growingReader struct {
	g   *Growing
	ctx context.Context
	at  int64
}

// wait returns how many bytes there are to be read, at least one.
func (r *growingReader) wait() (int64, error) {
	for {
		if r.ctx.Err() != nil {
			return 0, context.Cause(r.ctx)
		}
		r.g.mu.Lock()
		n, err, over, moved := r.g.size-r.at, r.g.err, r.g.over(), r.g.moved
		r.g.mu.Unlock()
		switch {
		case err != nil:
			return 0, err
		case n > 0:
			return n, nil
		case over:
			return 0, io.EOF
		}
		select {
		case <-moved:
		case <-r.ctx.Done():
		}
	}
}

func (r *growingReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	there, err := r.wait()
	if err != nil {
		return 0, err
	}
	n, err := r.g.from.ReadAt(p[:min(int64(len(p)), there)], r.at)
	r.at += int64(n)
	if n > 0 {
		return n, nil
	}
	if err == nil || err == io.EOF { //nolint:errorlint // an io.ReaderAt's end is io.EOF itself
		err = io.ErrUnexpectedEOF // there is less than was said
	}
	return 0, err
}
