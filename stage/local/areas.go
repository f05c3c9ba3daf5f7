package local

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/keep"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
)

// Kinds of what an Executor keeps beside the records and the blobs of its cache.
const (
	// KindSnapshot is a directory with the files of a layer, which a Run step saw or made.
	KindSnapshot cache.Kind = "snapshot"
	// KindMount is what the cache mounts of one id have in common. It is not removed while a
	// step uses it.
	KindMount cache.Kind = "mount"
	// KindGit is the mirror of a git repository. It is not removed while a build uses it.
	KindGit cache.Kind = "git"
	// KindLog is the whole output of a Run step. It is as old as its last line.
	KindLog cache.Kind = "log"
	// KindMemo has the digests of the files in a directory that builds read.
	KindMemo cache.Kind = "memo"
)

// Names below the private directory of a cache.
const (
	snapshotsDir = "snapshots"
	mountsDir    = "mounts"
	mountIDFile  = "id" // of each mount
	gitDir       = "git"
	mirrorsDir   = gitDir + "/mirrors"
	logsDir      = "logs"
	memoDir      = "memo"
	temporaryDir = "temporary"
)

// Areas are what executors keep in a cache beside records and blobs, for cache.Disk.Collect and
// cache.Disk.Usage: everything of their kinds, whatever process made it. A store without a
// directory that notes uses has none.
func Areas(s cache.Store) []cache.Area { return areas(s, false) }

// areas are those of a store. With lazy a directory that builds use all the time is measured
// once an hour.
func areas(s cache.Store, lazy bool) []cache.Area {
	keeper, ok := front(s).(cache.Keeper)
	if !ok {
		return nil
	}
	dir := keeper.Dir()
	return []cache.Area{
		snapshotArea{filepath.Join(dir, snapshotsDir)},
		mountArea{filepath.Join(dir, mountsDir), filepath.Join(dir, temporaryDir), lazy},
		gitArea{filepath.Join(dir, mirrorsDir), filepath.Join(dir, temporaryDir), lazy},
		fileArea{KindLog, filepath.Join(dir, logsDir), keeper},
		fileArea{KindMemo, filepath.Join(dir, memoDir), keeper},
	}
}

// snapshotArea has the directories of layers, each by its id in hexadecimal digits.
type snapshotArea struct{ dir string }

var _ cache.Stater = snapshotArea{}

func (snapshotArea) Kind() cache.Kind { return KindSnapshot }

func (a snapshotArea) entry(l snapshot.Layer) cache.Entry {
	return cache.Entry{Kind: KindSnapshot, ID: hex.EncodeToString(l.ID[:]), Bytes: l.Bytes, Used: l.Used}
}

// Scan implements cache.Area.
func (a snapshotArea) Scan(ctx context.Context, yield func(cache.Entry) error) error {
	return snapshot.Layers(ctx, a.dir, func(l snapshot.Layer) error { return yield(a.entry(l)) })
}

// Stat implements cache.Stater.
func (a snapshotArea) Stat(_ context.Context, id string) (cache.Entry, error) {
	layer, ok := snapshotOf(id)
	if !ok {
		return cache.Entry{}, cache.ErrNotFound
	}
	l, err := snapshot.Find(a.dir, layer)
	if errors.Is(err, snapshot.ErrNotFound) {
		return cache.Entry{}, cache.ErrNotFound
	}
	return a.entry(l), err
}

// Remove implements cache.Area.
func (a snapshotArea) Remove(ctx context.Context, id string, used time.Time) (int64, error) {
	layer, ok := snapshotOf(id)
	if !ok {
		return 0, cache.ErrNotFound
	}
	if _, err := snapshot.Find(a.dir, layer); errors.Is(err, snapshot.ErrNotFound) {
		return 0, cache.ErrNotFound
	}
	freed, err := snapshot.Remove(ctx, a.dir, layer, used.Add(1))
	if errors.Is(err, snapshot.ErrUsed) {
		err = cache.ErrInUse
	}
	return freed, err
}

// Settle implements cache.Settler.
func (a snapshotArea) Settle(id string, used time.Time) {
	if layer, ok := snapshotOf(id); ok {
		snapshot.Settle(a.dir, layer, used)
	}
}

func snapshotOf(id string) (layer tree.Digest, ok bool) {
	b, err := hex.DecodeString(id)
	return layer, err == nil && copy(layer[:], b) == len(b) && len(b) == len(layer)
}

// mountArea has what belongs to one id of cache mounts, as USER/NAME.
type mountArea struct {
	dir, trash string
	lazy       bool
}

func (mountArea) Kind() cache.Kind { return KindMount }

// Scan implements cache.Area.
func (a mountArea) Scan(ctx context.Context, yield func(cache.Entry) error) error {
	users, err := os.ReadDir(a.dir)
	if err != nil {
		return ignoreGone(err)
	}
	for _, user := range users {
		parent := filepath.Join(a.dir, user.Name())
		err := keep.Dirs(ctx, parent, a.lazy, func(e keep.Entry) error {
			id, _ := os.ReadFile(filepath.Join(parent, e.Name, mountIDFile))
			return yield(entryOf(KindMount, user.Name()+"/"+e.Name, e, string(id)))
		})
		if err != nil && !errors.Is(err, fs.ErrPermission) { // another user's
			return err
		}
	}
	return nil
}

// Remove implements cache.Area.
func (a mountArea) Remove(ctx context.Context, id string, used time.Time) (int64, error) {
	return removeDir(ctx, a.dir, id, 2, a.trash, used)
}

// Settle implements cache.Settler.
func (a mountArea) Settle(id string, used time.Time) { settleDir(a.dir, id, used) }

// gitArea has the mirrors of git repositories, each by its name.
type gitArea struct {
	dir, trash string
	lazy       bool
}

func (gitArea) Kind() cache.Kind { return KindGit }

// Scan implements cache.Area.
func (a gitArea) Scan(ctx context.Context, yield func(cache.Entry) error) error {
	return keep.Dirs(ctx, a.dir, a.lazy, func(e keep.Entry) error { return yield(entryOf(KindGit, e.Name, e, "")) })
}

// Remove implements cache.Area.
func (a gitArea) Remove(ctx context.Context, id string, used time.Time) (int64, error) {
	return removeDir(ctx, a.dir, id, 1, a.trash, used)
}

// Settle implements cache.Settler.
func (a gitArea) Settle(id string, used time.Time) { settleDir(a.dir, id, used) }

func settleDir(dir, id string, used time.Time) {
	if filepath.IsLocal(id) {
		keep.Settle(filepath.Join(dir, filepath.FromSlash(id)), used)
	}
}

func entryOf(kind cache.Kind, id string, e keep.Entry, detail string) cache.Entry {
	return cache.Entry{Kind: kind, ID: id, Bytes: e.Bytes, Used: e.Used, Detail: detail}
}

// removeDir removes a directory that package keep keeps, by its path of so many names in another one.
func removeDir(ctx context.Context, dir, id string, names int, trash string, used time.Time) (int64, error) {
	if !filepath.IsLocal(id) || strings.Count(id, "/") != names-1 || strings.HasSuffix(id, "/") {
		return 0, cache.ErrNotFound
	}
	path := filepath.Join(dir, filepath.FromSlash(id))
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return 0, cache.ErrNotFound
	}
	freed, err := keep.RemoveDir(ctx, path, trash, used.Add(1))
	if errors.Is(err, keep.ErrInUse) {
		err = cache.ErrInUse
	}
	return freed, err
}

// fileArea has the files of a directory, each by its name.
type fileArea struct {
	kind   cache.Kind
	dir    string
	keeper cache.Keeper
}

func (a fileArea) Kind() cache.Kind { return a.kind }

// Scan implements cache.Area.
func (a fileArea) Scan(ctx context.Context, yield func(cache.Entry) error) error {
	return keep.Files(ctx, a.dir, func(e keep.Entry) error { return yield(entryOf(a.kind, e.Name, e, "")) })
}

// Remove implements cache.Area.
func (a fileArea) Remove(_ context.Context, id string, used time.Time) (int64, error) {
	if !filepath.IsLocal(id) || strings.ContainsAny(id, `/\`) {
		return 0, cache.ErrNotFound
	}
	return a.keeper.RemoveUnused(filepath.Join(a.dir, id), used)
}

// Settle implements cache.Settler.
func (a fileArea) Settle(id string, used time.Time) {
	if filepath.IsLocal(id) && !strings.ContainsAny(id, `/\`) {
		_ = os.Chtimes(filepath.Join(a.dir, id), used, used)
	}
}
