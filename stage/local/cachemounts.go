package local

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/filelock"
	"github.com/stagewright/stagewright/internal/filemode"
	"github.com/stagewright/stagewright/internal/keep"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
)

// CacheMount is a directory that cache mounts have in common, which outlives builds.
type CacheMount struct {
	ID    string    // as stage.ID says it; without that, the target
	Files int       // entries of all kinds
	Bytes int64     // of regular files
	Used  time.Time // when a step last began to use it; of one that was imported, when that was
}

// ErrBusy says that a step is using a cache mount.
var ErrBusy = errors.New("a step is using it")

// ErrNoCacheMount says that there is no cache mount of an id.
var ErrNoCacheMount = errors.New("no such cache mount")

// CacheMounts lists the directories of cache mounts, in the order of their ids. An id has
// several when steps used private ones at once, or, in Dockerfiles, with different modes,
// owners or sources; their sizes are added. Steps may go on meanwhile.
func (e *Executor) CacheMounts(ctx context.Context) ([]CacheMount, error) {
	all, err := e.cacheMountDirs()
	if err != nil {
		return nil, err
	}
	var list []CacheMount
	for _, dir := range all {
		if len(list) == 0 || list[len(list)-1].ID != dir.id {
			list = append(list, CacheMount{ID: dir.id})
		}
		m := &list[len(list)-1]
		err := filepath.WalkDir(dir.path, func(p string, d fs.DirEntry, err error) error {
			if err != nil || p == dir.path {
				return ignoreGone(err)
			}
			m.Files++
			if d.Type().IsRegular() {
				if info, err := d.Info(); err == nil {
					m.Bytes += info.Size()
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, fmt.Errorf("local: cache mount %s: %w", dir.id, err)
		}
		if info, err := os.Stat(dir.path + ".lock"); err == nil && info.ModTime().After(m.Used) {
			m.Used = info.ModTime()
		}
	}
	return list, nil
}

// ignoreGone takes what a step removed meanwhile for nothing.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// RemoveCacheMounts removes the directories of ids, or of all ids when none is given. One
// that a step is using stays, and the error wraps [ErrBusy]; an id that has none wraps
// [ErrNoCacheMount].
func (e *Executor) RemoveCacheMounts(ctx context.Context, ids ...string) error {
	all, err := e.cacheMountDirs()
	if err != nil {
		return err
	}
	var errs []error
	found := map[string]bool{}
	for _, dir := range all {
		if len(ids) > 0 && !slices.Contains(ids, dir.id) {
			continue
		}
		found[dir.id] = true
		if err := removeCacheDir(ctx, dir.path); err != nil {
			errs = append(errs, fmt.Errorf("local: cache mount %s: %w", dir.id, err))
		}
	}
	for _, id := range ids {
		if !found[id] {
			errs = append(errs, fmt.Errorf("local: cache mount %s: %w", id, ErrNoCacheMount))
		}
	}
	return errors.Join(errs...)
}

func removeCacheDir(ctx context.Context, dir string) error {
	unlock, free, err := filelock.TryPath(dir+".lock", filelock.Exclusive)
	if err != nil {
		return err
	}
	if !free {
		return ErrBusy
	}
	defer unlock()
	return keep.RemoveAll(dir)
}

// ExportCacheMount writes the directory of an id to w as a tar, for another machine or a
// later CI job to import. Its own mode and owner are in the tar, and those of its files; what an ordinary user's steps made is 0:0 there, as
// in layers. Sockets and extended attributes are left out. It waits for steps that write to a
// locked or private mount; a shared one is read as it is. Of several directories of an id it is the one that ImportCacheMount makes, where
// there is that.
func (e *Executor) ExportCacheMount(ctx context.Context, id string, w io.Writer) error {
	dir, err := e.cacheMountDir(id)
	if err != nil {
		return err
	}
	return e.exportCacheDir(ctx, dir, w)
}

func (e *Executor) exportCacheDir(ctx context.Context, from cacheDir, w io.Writer) error {
	dir, id := from.path, from.id
	release, err := e.holdCacheMount(filepath.Dir(dir), id)
	if err != nil {
		return err
	}
	defer release()
	unlock, err := filelock.Path(ctx, dir+".lock", filelock.Shared)
	if err != nil {
		return err
	}
	defer unlock()
	out := bufio.NewWriterSize(w, 1<<16)
	archive := tar.NewWriter(out)
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || d.Type()&fs.ModeSocket != 0 {
			return err
		}
		return exportEntry(archive, dir, p)
	})
	if err = errors.Join(err, archive.Close(), out.Flush()); err != nil {
		return fmt.Errorf("local: cache mount %s: %w", id, err)
	}
	return nil
}

// exportEntry writes one file of a cache mount.
func exportEntry(archive *tar.Writer, dir, p string) error {
	info, err := os.Lstat(p)
	if err != nil {
		return err
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(p); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(dir, p)
	if err != nil {
		return err
	}
	header.Name, header.Uname, header.Gname = filepath.ToSlash(name), "", ""
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{} // reading would change the tar
	if os.Geteuid() != 0 {
		header.Uid, header.Gid = 0, 0 // the ids on this machine are those of nobody elsewhere
	}
	if info.IsDir() {
		header.Name += "/"
	}
	if p == dir {
		header.ModTime = time.Unix(0, 0) // a file that came and went is no change
	}
	header.Format = tar.FormatPAX
	if err := archive.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	file, err := os.Open(p)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.CopyN(archive, file, info.Size())
	return err
}

// ImportCacheMount makes the directory of an id from a tar that ExportCacheMount wrote, in
// place of the one that is there. The directory is the one that a mount of the id has which
// says nothing of mode, owner or source, or any mount of the id of a stage that is not of a Dockerfile. In Dockerfiles, where a mount with
// mode, uid, gid or from has a directory of its own, such a mount does not see it. It has the mode that it has in the tar, and for root the
// owner; 0755 and 0:0 where the tar says nothing. The
// tar is not trusted. The error wraps [ErrBusy] while a step is using the directory, and then
// nothing has changed.
func (e *Executor) ImportCacheMount(ctx context.Context, id string, r io.Reader) error {
	if err := e.importCacheMount(ctx, id, r); err != nil {
		return fmt.Errorf("local: cache mount %s: %w", id, err)
	}
	return nil
}

func (e *Executor) importCacheMount(ctx context.Context, id string, r io.Reader) error {
	private, _, err := e.dirs()
	if err != nil {
		return err
	}
	parent := cacheParent(private, plainName(id))
	release, err := e.holdCacheMount(parent, id)
	if err != nil {
		return err
	}
	defer release()
	temp, err := os.MkdirTemp(parent, "import-*")
	if err != nil {
		return err
	}
	defer keep.RemoveAll(temp)
	made, meta, err := unpackCacheMount(ctx, temp, r)
	if err != nil {
		return err
	}
	whole := temp + "-whole" // from where a rename asks for no permission on the directory itself
	defer keep.RemoveAll(whole)
	if err := errors.Join(os.Chmod(made, 0o700), os.Rename(made, whole), setCacheDir(whole, meta.UID, meta.GID, filemode.FS(meta.Mode))); err != nil {
		return err
	}
	dir := filepath.Join(parent, "0")
	unlock, free, err := filelock.TryPath(dir+".lock", filelock.Exclusive)
	if err != nil {
		return err
	}
	if !free {
		return ErrBusy
	}
	defer unlock()
	return errors.Join(keep.RemoveAll(dir), os.Rename(whole, dir))
}

// setCacheDir sets the owner, for root, and then the mode, which a change of the owner may clear bits of.
func setCacheDir(dir string, uid, gid uint32, mode fs.FileMode) error {
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return err
		}
	}
	return os.Chmod(dir, mode)
}

// unpackCacheMount makes a directory of a tar below temp. Its own owner and mode are told, and not set.
func unpackCacheMount(ctx context.Context, temp string, r io.Reader) (dir string, meta tree.Meta, err error) {
	spool, err := os.Create(filepath.Join(temp, "tar"))
	if err != nil {
		return "", meta, err
	}
	defer spool.Close()
	index, err := layertar.ReadArchive(io.TeeReader(r, spool), layertar.Limits{})
	if err != nil {
		return "", meta, err
	}
	root, err := index.Apply(nil)
	if err != nil {
		return "", meta, err
	}
	store, err := snapshot.Open(filepath.Join(temp, "files"), snapshot.Options{})
	if err != nil {
		return "", meta, err
	}
	defer store.Close()
	dir, err = store.Merged(ctx, tree.Digest(cache.NewKey("import", 1).Sum()), root, index.Opener(spool))
	return dir, root.Meta(), err
}

// cacheDir is one directory of a cache mount.
type cacheDir struct{ id, path string }

// name is what cacheName made it.
func (d cacheDir) name() string { return filepath.Base(filepath.Dir(d.path)) }

// cacheMountDirs lists the directories of this user's cache mounts.
func (e *Executor) cacheMountDirs() ([]cacheDir, error) {
	private, _, err := e.dirs()
	if err != nil {
		return nil, err
	}
	parents, err := os.ReadDir(cacheParent(private, ""))
	if err != nil {
		return nil, ignoreGone(err)
	}
	var list []cacheDir
	for _, p := range parents {
		parent := cacheParent(private, p.Name())
		id, err := os.ReadFile(filepath.Join(parent, mountIDFile))
		if err != nil {
			continue // it was never used
		}
		names, err := os.ReadDir(parent)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if n.IsDir() && strings.Trim(n.Name(), "0123456789") == "" {
				list = append(list, cacheDir{string(id), filepath.Join(parent, n.Name())})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b cacheDir) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.path, b.path)) })
	return list, nil
}

// cacheMountDir is the directory of an id that is not private: the one that an import makes, or else the first of those that steps
// made for mounts of other modes, owners or sources.
func (e *Executor) cacheMountDir(id string) (cacheDir, error) {
	all, err := e.cacheMountDirs()
	if err != nil {
		return cacheDir{}, err
	}
	plain := plainName(id)
	at := slices.IndexFunc(all, func(d cacheDir) bool { return d.id == id && d.name() == plain })
	if at < 0 {
		at = slices.IndexFunc(all, func(d cacheDir) bool { return d.id == id })
	}
	if at < 0 {
		return cacheDir{}, fmt.Errorf("local: cache mount %s: %w", id, ErrNoCacheMount)
	}
	return all[at], nil
}

// cacheParent is where the directories of one cache mount are. Users of one cache have
// their own.
func cacheParent(private, name string) string {
	return filepath.Join(private, mountsDir, strconv.Itoa(os.Getuid()), name)
}

// holdCacheMount makes the place of a cache mount's directories, with its id, and keeps
// collectors off it until release.
func (e *Executor) holdCacheMount(parent, id string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(parent), 0o700); err != nil {
		return nil, err
	}
	if release, err = keep.Hold(parent); err != nil {
		return nil, err
	}
	if err := e.makeCacheParent(parent, id); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// makeCacheParent makes the place and the file with the id, which begins where a killed build's files are swept.
func (e *Executor) makeCacheParent(parent, id string) error {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	path := filepath.Join(parent, mountIDFile)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, err := e.tempDir()
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, "id-*")
	if err != nil {
		return err
	}
	_, err = temp.WriteString(id)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}
