package local

import (
	"context"

	"github.com/stagewright/stagewright/cache"
)

// blob exports a blob of the cache.
func (x *exporter) blob(ctx context.Context, digest cache.Digest) error {
	there, err := x.has(ctx, digest)
	if there || err != nil {
		return err
	}
	return x.send(ctx, digest)
}

// bytes exports a blob that the cache does not have as one.
func (x *exporter) bytes(ctx context.Context, digest cache.Digest, data []byte) error {
	there, err := x.has(ctx, digest)
	if there || err != nil {
		return err
	}
	_, err = cache.PutBlob(ctx, x.to, data)
	return x.sent(int64(len(data)), err)
}

func (x *exporter) send(ctx context.Context, digest cache.Digest) error {
	blob, err := x.s.opts.Store.Open(ctx, digest)
	if err != nil {
		return err
	}
	n := blob.Size()
	blob.Close()
	return x.sent(n, cache.CopyBlob(ctx, x.to, x.s.opts.Store, digest))
}

// blobOf exports the bytes of a layer, which may have to be fetched or made.
func (x *exporter) blobOf(ctx context.Context, digest cache.Digest) error {
	there, err := x.has(ctx, digest)
	if there || err != nil {
		return err
	}
	rc, err := x.s.openLayer(ctx, nil, digest)
	if err != nil {
		return err
	}
	rc.Close()
	return x.send(ctx, digest)
}

func (x *exporter) sent(n int64, err error) error {
	if err == nil {
		x.Blobs++
		x.Bytes += n
	}
	return err
}
