package local

import (
	"context"
	"fmt"
	"io"

	"github.com/stagewright/stagewright/cache"
)

var _ = []portable{(*record)(nil), (*layerRecord)(nil), (*imageRecord)(nil), (*baseRecord)(nil)}

// accept implements portable. A directory or a pack of another machine is not here; what a record says of one would
// be taken for something of this machine.
func (r *record) accept(ctx context.Context, s *session, from *remote) bool {
	if !r.Snapshot.IsZero() || !r.Pack.IsZero() || r.Files < 0 || r.Bytes < 0 {
		return false
	}
	if r.Layer != nil && !r.Layer.accept(ctx, s, from) {
		return false
	}
	if out := r.Output; out != nil && !(s.fetch(ctx, from, out.Stdout, maxCapture) && s.fetch(ctx, from, out.Stderr, maxCapture)) {
		return false
	}
	return len(r.Inline) > 0 || s.fetch(ctx, from, r.Changes, maxChanges)
}

func (r *record) imported() bool { return r.Imported }

func (r *record) mark(imported bool) {
	r.Imported = imported
	if r.Layer != nil {
		layer := *r.Layer
		layer.Imported = imported
		r.Layer = &layer
	}
}

func (r *record) large() []cache.Digest {
	if r.Layer == nil {
		return nil
	}
	return []cache.Digest{r.Layer.Digest}
}

// accept implements portable: the bytes of the layer must be there, and as many as it says.
func (r *layerRecord) accept(ctx context.Context, s *session, from *remote) bool {
	if r.Digest.IsZero() || r.DiffID.IsZero() || r.Size <= 0 || r.Total < 0 {
		return false
	}
	for _, store := range []cache.Store{s.opts.Store, from.store} {
		blob, err := store.Open(ctx, r.Digest)
		if err == nil {
			size := blob.Size()
			blob.Close()
			return size == r.Size
		}
		if store == from.store {
			_ = s.unanswered(ctx, from, err)
		}
	}
	return false
}

func (r *layerRecord) imported() bool        { return r.Imported }
func (r *layerRecord) mark(imported bool)    { r.Imported = imported }
func (r *layerRecord) large() []cache.Digest { return []cache.Digest{r.Digest} }

// accept implements portable. Whether the layers are as many as the image has is seen when they are used.
func (r *imageRecord) accept(ctx context.Context, s *session, from *remote) bool {
	for _, l := range r.Layers {
		if l != nil && !l.accept(ctx, s, from) {
			return false
		}
	}
	return true
}

func (r *imageRecord) imported() bool {
	for _, l := range r.Layers {
		if l != nil && l.Imported {
			return true
		}
	}
	return false
}

func (r *imageRecord) mark(imported bool) {
	for i, l := range r.Layers {
		if l != nil {
			layer := *l
			layer.Imported = imported
			r.Layers[i] = &layer
		}
	}
}

func (r *imageRecord) large() (list []cache.Digest) {
	for _, l := range r.Layers {
		if l != nil {
			list = append(list, l.Digest)
		}
	}
	return list
}

func (r *baseRecord) accept(ctx context.Context, s *session, from *remote) bool {
	return !r.Changes.IsZero() && s.fetch(ctx, from, r.Changes, maxChanges) // few layers change nothing, and a record that says nothing is like theirs
}

func (r *baseRecord) imported() bool        { return r.Imported }
func (r *baseRecord) mark(imported bool)    { r.Imported = imported }
func (r *baseRecord) large() []cache.Digest { return nil }

// fetch copies a blob of a remote into the cache, verified, unless it is there.
func (s *session) fetch(ctx context.Context, from *remote, digest cache.Digest, limit int64) bool {
	if digest.IsZero() || s.holds(ctx, digest) {
		return true
	}
	err := copyBlob(ctx, from.store, s.opts.Store, digest, limit)
	if err != nil {
		_ = s.unanswered(ctx, from, err)
	}
	return err == nil
}

// copyBlob copies a blob of at most limit bytes. Nothing is written unless the bytes have the digest.
func copyBlob(ctx context.Context, from, to cache.Store, digest cache.Digest, limit int64) error {
	blob, err := from.Open(ctx, digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	if n := blob.Size(); n > limit {
		return fmt.Errorf("%w: %d bytes, the limit here is %d", cache.ErrTooLarge, n, limit)
	}
	var r io.Reader = &contextReader{ctx, io.NewSectionReader(blob, 0, blob.Size())}
	if far, ok := blob.(cache.Fetcher); ok {
		arriving, err := far.Stream(ctx)
		if err != nil {
			return err
		}
		defer arriving.Close()
		r = io.LimitReader(arriving, blob.Size()+1)
	}
	return writeBlob(ctx, to, r, digest)
}

func writeBlob(ctx context.Context, to cache.Store, r io.Reader, digest cache.Digest) error {
	w, err := to.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Discard()
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	_, err = w.Commit(ctx, digest)
	return err
}
