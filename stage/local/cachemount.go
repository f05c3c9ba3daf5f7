package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/filelock"
	"github.com/stagewright/stagewright/internal/filemode"
	"github.com/stagewright/stagewright/internal/keep"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// cacheDirs takes the directories of a step's cache mounts, which outlive the build, by
// the index of the mount. Each directory has a lock: a shared mount holds it together
// with others, a locked one alone, and a private one takes the first directory that
// nobody holds. Locks are taken in the order of their names, so that no two steps
// wait for each other.
func (s *session) cacheDirs(ctx context.Context, d *demand, set *mountSet, op *stage.RunOp, from map[int]bindSource) (map[int]string, error) {
	type wanted struct {
		index int
		name  string
		mount stage.Mount
		from  bindSource
	}
	var list []wanted
	locked := map[string]bool{}
	for i, m := range op.Mounts {
		if m.Type == stage.MountCache {
			bound := from[i]
			if op.Compatible {
				m, bound = asBuildKitSeeds(m, bound)
			}
			name, err := cacheName(op, m, bound)
			if err != nil {
				return nil, fmt.Errorf("cache mount %s: %w", m.Target, err)
			}
			list = append(list, wanted{index: i, name: name, mount: m, from: bound})
			locked[name] = locked[name] || m.Sharing == stage.Locked
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	private, _, err := s.dirs()
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b wanted) int { return cmp.Compare(a.name, b.name) })
	dirs := map[int]string{}
	held := map[string]bool{}
	for _, w := range list {
		parent := cacheParent(private, w.name)
		release, err := s.holdCacheMount(parent, w.mount.ID)
		if err == nil {
			set.releases = append(set.releases, release)
		}
		dir := filepath.Join(parent, "0")
		switch {
		case err != nil:
		case w.mount.Sharing == stage.Private:
			dir, err = takePrivate(set, parent)
		case !held[w.name]:
			held[w.name] = true
			mode := filelock.Shared
			if locked[w.name] {
				mode = filelock.Exclusive
			}
			err = set.lock(ctx, dir+".lock", mode)
		}
		if err == nil {
			err = s.makeCacheDir(ctx, d, dir, w.mount, w.from)
		}
		if err != nil {
			return nil, fmt.Errorf("cache mount %s: %w", w.mount.Target, err)
		}
		dirs[w.index] = dir
	}
	return dirs, nil
}

// lock takes the lock of a cache mount, which the step holds until it ends.
func (m *mountSet) lock(ctx context.Context, path string, mode filelock.Mode) error {
	unlock, err := filelock.Path(ctx, path, mode)
	if err != nil {
		return err
	}
	return m.locked(path, unlock)
}

// locked keeps a lock that was taken until the step ends. The time of the lock's file is that of the last step that had it.
func (m *mountSet) locked(path string, unlock func()) error {
	m.releases = append(m.releases, unlock)
	now := time.Now()
	return os.Chtimes(path, now, now)
}

func takePrivate(set *mountSet, parent string) (string, error) {
	for i := 0; ; i++ {
		dir := filepath.Join(parent, strconv.Itoa(i))
		unlock, ok, err := filelock.TryPath(dir+".lock", filelock.Exclusive)
		if err != nil {
			return "", err
		}
		if ok {
			return dir, set.locked(dir+".lock", unlock)
		}
	}
}

// cacheName names the directories of a cache mount. They go by its id; in compatible mode,
// as in BuildKit, also by what a new one begins with, so that mounts of one id that begin
// in different ways share nothing.
func cacheName(op *stage.RunOp, m stage.Mount, from bindSource) (string, error) {
	k := cache.NewKey("cache mount", 1).String("id", m.ID)
	if op.Compatible && from.root != nil {
		f, err := findBound(from, m)
		if err != nil {
			return "", err
		}
		k.Digest("seed", cache.Digest(f.node.Key()))
	}
	if op.Compatible && (m.Mode != 0 || m.Owner != "") {
		k.Int("mode", int64(cmp.Or(m.Mode, 0o755))).String("owner", cmp.Or(m.Owner, "0:0"))
	}
	return k.Sum().Hex(), nil
}

// plainName is the cacheName of a mount that says nothing but its id.
func plainName(id string) string { return cache.NewKey("cache mount", 1).String("id", id).Sum().Hex() }

// asBuildKitSeeds returns what counts of a mount's mode and owner, and of its source: BuildKit
// leaves a directory of the source as it is, and to set them on a whole source it takes an
// empty directory instead.
func asBuildKitSeeds(m stage.Mount, from bindSource) (stage.Mount, bindSource) {
	switch {
	case from.root == nil || m.Mode == 0 && m.Owner == "":
	case m.Path == ".":
		from = bindSource{}
	default:
		m.Mode, m.Owner = 0, ""
	}
	return m, from
}

// makeCacheDir makes the directory with the contents, owner and mode of the first mount that
// asks for it. It appears with all of them or not at all.
func (s *session) makeCacheDir(ctx context.Context, d *demand, dir string, m stage.Mount, from bindSource) error {
	parent := filepath.Dir(dir)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	unlock, err := filelock.Path(ctx, filepath.Join(parent, "make.lock"), filelock.Exclusive)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temp := filepath.Join(parent, "new")
	if err := keep.RemoveAll(temp); err != nil {
		return err
	}
	mode := fs.FileMode(0o755)
	if from.root == nil {
		err = s.beginMount(ctx, parent, temp, m)
	} else {
		mode, err = s.seed(ctx, d, temp, m, from)
	}
	if err != nil {
		return err
	}
	if m.Mode != 0 {
		mode = filemode.FS(m.Mode)
	}
	if from.root == nil || m.Owner != "" {
		uid, gid := ids(m.Owner)
		err = setCacheDir(temp, uid, gid, mode)
	} else {
		err = os.Chmod(temp, mode)
	}
	return errors.Join(err, os.Rename(temp, dir))
}

// beginMount makes the directory of a mount that has no source: empty, or with what another machine exported of one of the same name.
func (s *session) beginMount(ctx context.Context, parent, dir string, m stage.Mount) error {
	if len(s.from) == 0 {
		return os.Mkdir(dir, 0o700)
	}
	temp, err := os.MkdirTemp(parent, "import-*")
	if err != nil {
		return err
	}
	defer keep.RemoveAll(temp)
	made, err := s.importMount(ctx, temp, cacheDir{m.ID, dir})
	if err != nil {
		return err
	}
	if made == "" {
		return os.Mkdir(dir, 0o700)
	}
	return errors.Join(os.Chmod(made, 0o700), os.Rename(made, dir))
}

// seed makes a directory with the files of a source, and returns the mode that it has
// there: while it is moved its owner must be able to write to it.
func (s *session) seed(ctx context.Context, d *demand, dir string, m stage.Mount, from bindSource) (fs.FileMode, error) {
	f, err := findBound(from, m)
	if err != nil {
		return 0, err
	}
	if !f.node.IsDir() {
		return 0, fmt.Errorf("it is to begin with %s of %s, which is no directory", m.Path, m.From)
	}
	open, err := s.bindOpener(ctx, d, from, f.node)
	if err != nil {
		return 0, err
	}
	var temporary mountSet
	defer temporary.release()
	store, err := s.scratchStore(&temporary)
	if err != nil {
		return 0, err
	}
	made, err := store.Merged(ctx, tree.Digest(cache.NewKey("seed", 1).Sum()), f.node, open)
	if err != nil {
		return 0, err
	}
	info, err := os.Lstat(made)
	if err != nil {
		return 0, err
	}
	if err := os.Chmod(made, 0o700); err != nil {
		return 0, err
	}
	return info.Mode(), os.Rename(made, dir)
}
