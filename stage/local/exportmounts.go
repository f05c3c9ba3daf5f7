package local

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/compress"
	"github.com/stagewright/stagewright/internal/decompress"
	"github.com/stagewright/stagewright/stage"
)

// AllMounts among the ids of ExportOptions.Mounts stands for the ids of all cache mounts.
const AllMounts = "*"

// mountRecord names the contents of a cache mount that was exported: the tar of ExportCacheMount, compressed with zstd.
type mountRecord struct {
	Tar cache.Digest `json:"tar"`
}

// mountKey goes by the id, for the mount that says nothing else, and else by all that counts for its directory: a mode, an owner and a
// source of Dockerfiles.
func mountKey(dir cacheDir) cache.Key {
	k := cache.NewKey("cache mount contents", 1).String("id", dir.id)
	if dir.name() != plainName(dir.id) {
		k.String("directory", dir.name())
	}
	return k.Sum()
}

// mounts exports the contents of cache mounts. unknown tells of ids that there are not.
func (x *exporter) mounts(ctx context.Context, ids []string) (unknown, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	all, err := x.s.cacheMountDirs()
	if err != nil {
		return nil, err
	}
	for i, dir := range all {
		if i > 0 && all[i-1].id == dir.id && all[i-1].name() == dir.name() || !slices.Contains(ids, dir.id) && !slices.Contains(ids, AllMounts) {
			continue
		}
		if err := x.mount(ctx, dir); err != nil {
			return nil, err
		}
	}
	known := map[string]bool{AllMounts: true}
	for _, dir := range all {
		known[dir.id] = true
	}
	return x.unknownMounts(known, ids), nil
}

// unknownMounts is an error for the ids that neither the cache has nor the build: on a new machine, where no step with a mount had
// to run, the cache has none of the build's.
func (x *exporter) unknownMounts(known map[string]bool, ids []string) error {
	for _, step := range x.s.steps {
		if op, ok := step.Op.(*stage.RunOp); ok {
			for _, m := range op.Mounts {
				if m.Type == stage.MountCache {
					known[m.ID] = true
				}
			}
		}
	}
	var errs []error
	for _, id := range ids {
		if known[id] {
			continue
		}
		there := slices.DeleteFunc(slices.Sorted(maps.Keys(known)), func(id string) bool { return id == AllMounts })
		said := "there is none"
		if len(there) > 0 {
			said = fmt.Sprintf("there are %q", there[:min(len(there), maxNamedMounts)])
		}
		errs = append(errs, fmt.Errorf("ExportOptions.Mounts: %q: %w; %s (an id is what stage.ID says, else the mount's target)", id, ErrNoCacheMount, said))
	}
	return errors.Join(errs...)
}

// maxNamedMounts is how many ids an error names.
const maxNamedMounts = 20

// mount exports one cache mount. Its tar is made first, since only that tells whether the store has it.
func (x *exporter) mount(ctx context.Context, from cacheDir) error {
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
	if err := errors.Join(x.s.exportCacheDir(ctx, from, zstd), zstd.Close()); err != nil {
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
	return x.record(ctx, mountKey(from), mountRecord{digest})
}

// importMount makes a directory below temp of what another machine exported of a cache mount. The path is empty when
// nobody has it: a mount that begins empty is as good.
func (s *session) importMount(ctx context.Context, temp string, dir cacheDir) (string, error) {
	for from := range s.remotes() {
		made, err := importMountFrom(ctx, from, temp, dir)
		if err == nil {
			return made, nil
		}
		if err := s.unanswered(ctx, from, err); err != nil {
			return "", err
		}
	}
	return "", nil
}

func importMountFrom(ctx context.Context, from *remote, temp string, mount cacheDir) (string, error) {
	data, err := from.store.Get(ctx, mountKey(mount))
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
	made, _, err := unpackCacheMount(ctx, dir, plain) // its owner and mode are those of the mount that asks
	if err == nil {
		_, err = io.Copy(io.Discard, rc) // only at its end is it known whose bytes these are
	}
	return made, err
}
