package remote

import (
	"context"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
)

// medium is where manifests and blobs are.
type medium interface {
	// tags lists the tags that keep accepts.
	tags(ctx context.Context, keep func(string) bool) ([]string, error)
	// manifest reads what a tag names. A tag that is gone is gone(err).
	manifest(ctx context.Context, tag string) ([]byte, v1.Descriptor, error)
	// stream gives the bytes of a blob, and says at their end if they are others.
	stream(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// local opens a blob that needs no fetching; nil when all do.
	local(ctx context.Context, d v1.Descriptor) (cache.Blob, error)
	// has reports whether a blob is there.
	has(ctx context.Context, d v1.Descriptor) (bool, error)
	// put brings blobs and then the manifest that names them.
	put(ctx context.Context, tag string, d v1.Descriptor, raw []byte, blobs []image.Blob) (image.Delivery, error)
	// remove takes manifests away, and reports how many; those that may not be removed stay.
	remove(ctx context.Context, list []stale) (int, error)
}

// stale is a manifest that is not needed any more.
type stale struct {
	tag    string
	digest v1.Hash
}

// gone reports whether err says that a manifest or a blob is not there, rather than that it could not be asked for.
func gone(err error) bool {
	return errors.Is(err, registry.ErrNotFound) || errors.Is(err, layout.ErrNotFound)
}

type inRegistry struct {
	*registry.Repository
	mount []string
}

func (r *inRegistry) tags(ctx context.Context, keep func(string) bool) ([]string, error) {
	return r.Tags(ctx, keep)
}

func (r *inRegistry) manifest(ctx context.Context, tag string) ([]byte, v1.Descriptor, error) {
	return r.Manifest(ctx, tag)
}

func (r *inRegistry) stream(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return r.Blob(ctx, d)
}

func (r *inRegistry) local(context.Context, v1.Descriptor) (cache.Blob, error) { return nil, nil }

func (r *inRegistry) has(ctx context.Context, d v1.Descriptor) (bool, error) {
	return r.Has(ctx, d.Digest)
}

func (r *inRegistry) put(ctx context.Context, tag string, d v1.Descriptor, raw []byte, blobs []image.Blob) (image.Delivery, error) {
	sent, err := r.Send(ctx, blobs, r.mount...)
	if err != nil {
		return sent, err
	}
	return sent, r.Put(ctx, tag, d, raw)
}

func (r *inRegistry) remove(ctx context.Context, list []stale) (n int, err error) {
	for _, old := range list {
		ok, err := r.Delete(ctx, old.tag, old.digest)
		if err != nil || !ok {
			return n, err // a registry that does not delete one deletes none
		}
		n++
	}
	return n, nil
}

type inLayout struct{ *layout.Directory }

func (l *inLayout) tags(ctx context.Context, keep func(string) bool) ([]string, error) {
	return l.Tags(ctx, keep)
}

func (l *inLayout) manifest(ctx context.Context, tag string) ([]byte, v1.Descriptor, error) {
	return l.Manifest(ctx, tag)
}

func (l *inLayout) stream(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	f, err := l.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	return image.Verify(f, d.Digest, d.Size)
}

func (l *inLayout) local(ctx context.Context, d v1.Descriptor) (cache.Blob, error) {
	f, err := l.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	return fileBlob{f, d.Size}, nil
}

func (l *inLayout) has(ctx context.Context, d v1.Descriptor) (bool, error) {
	f, err := l.Blob(ctx, d)
	if err != nil {
		return false, nil //nolint:nilerr // what cannot be opened is not there
	}
	return true, f.Close()
}

func (l *inLayout) put(ctx context.Context, tag string, d v1.Descriptor, raw []byte, blobs []image.Blob) (image.Delivery, error) {
	return l.Put(ctx, tag, d, raw, blobs)
}

func (l *inLayout) remove(ctx context.Context, list []stale) (int, error) {
	tags := make([]string, len(list))
	for n, old := range list {
		tags[n] = old.tag
	}
	return len(tags), l.Delete(ctx, tags)
}
