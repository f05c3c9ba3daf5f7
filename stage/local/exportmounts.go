package local

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/compress"
	"github.com/stagewright/stagewright/internal/decompress"
)

// AllMounts among the ids of ExportOptions.Mounts stands for the ids of all cache mounts.
const AllMounts = "*"

// mountRecord names the contents of a cache mount that was exported: the tar of ExportCacheMount, compressed with zstd.
type mountRecord struct {
	Tar cache.Digest `json:"tar"`
}

func mountKey(id string) cache.Key {
	return cache.NewKey("cache mount contents", 1).String("id", id).Sum()
}

// mounts exports the contents of cache mounts.
func (x *exporter) mounts(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	all, err := x.s.cacheMountDirs()
	if err != nil {
		return err
	}
	for i, dir := range all {
		if i > 0 && all[i-1].id == dir.id || !slices.Contains(ids, dir.id) && !slices.Contains(ids, AllMounts) {
			continue
		}
		if err := x.mount(ctx, dir.id); err != nil {
			return err
		}
	}
	return nil
}

// mount exports one cache mount. Its tar is made first, since only that tells whether the store has it.
func (x *exporter) mount(ctx context.Context, id string) error {
	dir, err := x.s.tempDir()
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, "mount-*.tar")
	if err != nil {
		return err
	}
	defer file.Close()
	os.Remove(file.Name())
	hash := sha256.New()
	bytes := &sink{w: io.MultiWriter(file, hash), ctx: ctx}
	zstd := compress.NewWriter(bytes, compress.Options{Format: compress.Zstd})
	if err := errors.Join(x.s.ExportCacheMount(ctx, id, zstd), zstd.Close()); err != nil {
		return err
	}
	digest := sum(hash)
	there, err := x.has(ctx, digest)
	if err != nil {
		return err
	}
	if !there {
		if err := x.sent(bytes.n, writeBlob(ctx, x.to, io.NewSectionReader(file, 0, bytes.n), digest)); err != nil {
			return err
		}
	}
	return x.record(ctx, mountKey(id), mountRecord{digest})
}

// importMount makes a directory below temp of what another machine exported of a cache mount. The path is empty when
// nobody has it: a mount that begins empty is as good.
func (s *session) importMount(ctx context.Context, temp, id string) (string, error) {
	for from := range s.remotes() {
		made, err := importMountFrom(ctx, from, temp, id)
		if err == nil {
			return made, nil
		}
		if err := s.unanswered(ctx, from, err); err != nil {
			return "", err
		}
	}
	return "", nil
}

func importMountFrom(ctx context.Context, from *remote, temp, id string) (string, error) {
	data, err := from.store.Get(ctx, mountKey(id))
	if err != nil {
		return "", err
	}
	var rec mountRecord
	if json.Unmarshal(data, &rec) != nil {
		return "", cache.ErrNotFound
	}
	rc, _, err := cache.NewReader(ctx, from.store, rec.Tar)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	plain, _, err := decompress.NewReader(rc)
	if err != nil {
		return "", err
	}
	defer plain.Close()
	dir, err := os.MkdirTemp(temp, "files-*")
	if err != nil {
		return "", err
	}
	made, err := unpackCacheMount(ctx, dir, plain)
	if err == nil {
		_, err = io.Copy(io.Discard, rc) // only at its end is it known whose bytes these are
	}
	return made, err
}
