package snapshot

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/filelock"
	"github.com/stagewright/stagewright/internal/tree"
)

// A use of a layer is told by the access time of its manifest, and a removal goes by that. So that no layer goes between the two steps
// of a user (it is there; it is marked), both are done under the lock of one file, shared, and a removal's two steps (it is not marked; it
// is renamed away) are done under the same lock alone. It is held for microseconds; what was renamed is deleted without it.
const gateFile = "gate"

// holdGate takes the lock of the gate of a form; closing the file releases it.
func holdGate(base string, mode filelock.Mode) (*os.File, error) {
	return lockWait(filepath.Join(base, gateFile), mode)
}

// use marks a layer as used, unless it has been since Options.Since, and tells which manifest it has; false says that there is no such layer. What
// cannot be marked, on a disk that is read only, is used all the same.
func (s *Store) use(id tree.Digest) (fileID, bool) {
	name := layerName(id) + "/" + manifestFile
	e, err := statAt(s.layers.fd, name)
	if err != nil {
		return fileID{}, false
	}
	if s.opts.Since == nil {
		return e.id(), true
	}
	now, since := time.Now(), s.opts.Since()
	if e.atime >= since.UnixNano() {
		return e.id(), true
	}
	if now.Before(since) { // the clock was set back, which must not take the layer out of the lease
		now = since
	}
	gate, err := holdGate(s.base, filelock.Shared)
	if err != nil {
		return e.id(), true
	}
	defer gate.Close()
	return e.id(), stamp(s.layers.fd, name, now) != unix.ENOENT
}

// Use marks layers of the store in dir as used, those of this identity, unless they have been since a time: as a look at each of them in the open store
// does, for who does not want their files. What is not there, or cannot be marked, is left out.
func Use(ctx context.Context, dir string, since time.Time, ids []tree.Digest) {
	base := filepath.Join(dir, form())
	layers, err := openRoot(filepath.Join(base, layersDir))
	if err != nil {
		return
	}
	defer layers.close()
	gate, err := holdGate(base, unix.LOCK_SH)
	if err != nil {
		return
	}
	defer gate.Close()
	now := time.Now()
	if now.Before(since) { // the clock was set back
		now = since
	}
	for _, id := range ids {
		if ctx.Err() != nil {
			return
		}
		name := layerName(id) + "/" + manifestFile
		if e, err := statAt(layers.fd, name); err == nil && e.atime < since.UnixNano() {
			_ = stamp(layers.fd, name, now)
		}
	}
}

// stamp sets the access time of a file alone.
func stamp(at int, name string, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	return unix.UtimesNanoAt(at, name, []unix.Timespec{ts, {Nsec: unix.UTIME_OMIT}}, unix.AT_SYMLINK_NOFOLLOW)
}

// diskUsage adds up what files take on the disk.
type diskUsage struct {
	bytes  int64
	inodes map[[2]uint64]struct{} // of files with several names
}

func (u *diskUsage) add(e *entry) {
	if e.nlink > 1 && e.kind() != unix.S_IFDIR {
		inode := [2]uint64{e.dev, e.ino}
		if _, known := u.inodes[inode]; known {
			return
		}
		if u.inodes == nil {
			u.inodes = map[[2]uint64]struct{}{}
		}
		u.inodes[inode] = struct{}{}
	}
	u.bytes += 512 * e.blocks
}

// layerAt tells of a layer by its manifest, without a walk through its files unless the manifest is of no use, as the layer then is.
func layerAt(layers int, name string) (Layer, error) {
	dir, err := statAt(layers, name)
	if err != nil {
		return Layer{}, err
	}
	l := Layer{Bytes: 512 * dir.blocks, Used: time.Unix(0, dir.mtime)}
	if file, err := statAt(layers, name+"/"+manifestFile); err == nil {
		l.Bytes += 512 * file.blocks
		l.Used = time.Unix(0, file.atime)
	}
	m, err := readManifest(layers, name+"/"+manifestFile)
	if err != nil {
		m.size = measure(layers, name+"/"+fsDir)
	}
	l.Bytes += m.size
	return l, nil
}

// measure walks through a directory that no manifest tells of. What cannot be read does not count.
func measure(at int, name string) int64 {
	var u diskUsage
	e, err := statAt(at, name)
	fd, openErr := openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil || openErr != nil {
		return 0
	}
	defer unix.Close(fd)
	u.add(&e)
	w := walker{root: root{fd: fd}, parallel: 1, max: maxEntries, visit: func(_ string, _ int, list []entry) error {
		for i := range list {
			u.add(&list[i])
		}
		return nil
	}}
	_ = w.run(context.Background())
	return u.bytes
}

// forms lists the directories of the identities below the directory of a store.
func forms(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []string
	for _, e := range entries {
		if e.IsDir() && (e.Name() == "root" || strings.HasPrefix(e.Name(), "user-")) {
			list = append(list, filepath.Join(dir, e.Name()))
		}
	}
	return list, err
}

// Layers calls yield for each layer of the store in dir, of every identity that has used it and that this process may look at. One that is removed meanwhile may
// be left out. The errors are those of yield and of the disk, and the context's cause.
func Layers(ctx context.Context, dir string, yield func(Layer) error) error {
	bases, err := forms(dir)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	for _, base := range bases {
		layers, err := openRoot(filepath.Join(base, layersDir))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		err = layersIn(ctx, layers.fd, yield)
		layers.close()
		if err != nil {
			return err
		}
	}
	return nil
}

func layersIn(ctx context.Context, layers int, yield func(Layer) error) error {
	names, err := readNames(layers, maxEntries)
	if err != nil {
		return onDisk("getdents", layersDir, err)
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		id, err := hex.DecodeString(name)
		if err != nil || len(id) != len(tree.Digest{}) {
			continue // nothing of ours
		}
		l, err := layerAt(layers, name)
		if err != nil {
			continue // it has gone
		}
		l.ID = tree.Digest(id)
		if err := yield(l); err != nil {
			return err
		}
	}
	return nil
}

// Find tells of one layer of the store in dir as [Layers] does; what several identities have of it is added up. [ErrNotFound] is wrapped when there is none.
func Find(dir string, id tree.Digest) (Layer, error) {
	bases, err := forms(dir)
	if err != nil {
		return Layer{}, fmt.Errorf("snapshot: %w", err)
	}
	sum, found := Layer{ID: id}, false
	for _, base := range bases {
		layers, err := openRoot(filepath.Join(base, layersDir))
		if err != nil {
			continue
		}
		if l, err := layerAt(layers.fd, layerName(id)); err == nil {
			found = true
			sum.Bytes += l.Bytes
			if l.Used.After(sum.Used) {
				sum.Used = l.Used
			}
		}
		layers.close()
	}
	if !found {
		return sum, fmt.Errorf("%w: no directory of layer %s", ErrNotFound, id)
	}
	return sum, nil
}

// Settle makes the last use of a layer another time, for every identity that has it used later. What cannot be set is left out.
func Settle(dir string, id tree.Digest, used time.Time) {
	bases, err := forms(dir)
	if err != nil {
		return
	}
	for _, base := range bases {
		layers, err := openRoot(filepath.Join(base, layersDir))
		if err != nil {
			continue
		}
		name := layerName(id) + "/" + manifestFile
		if e, err := statAt(layers.fd, name); err == nil && e.atime > used.UnixNano() {
			_ = stamp(layers.fd, name, used)
		}
		layers.close()
	}
}

// Remove removes a layer from the store in dir, of every identity of which this process may, and returns the bytes that its files took on the
// disk; where files share blocks (reflinks), the disk gains less. It is removed by one rename, so that others see it whole or
// not at all, and deleted then. One that was used at unless or later stays, and the error is [ErrUsed]. That it is absent is no error.
func Remove(ctx context.Context, dir string, id tree.Digest, unless time.Time) (freed int64, err error) {
	bases, err := forms(dir)
	if err != nil {
		return 0, fmt.Errorf("snapshot: %w", err)
	}
	for _, base := range bases {
		if ctx.Err() != nil {
			return freed, context.Cause(ctx)
		}
		n, rmErr := removeLayer(base, layerName(id), unless)
		freed += n
		err = errors.Join(err, rmErr)
	}
	return freed, err
}

func removeLayer(base, name string, unless time.Time) (freed int64, err error) {
	layers, err := openRoot(filepath.Join(base, layersDir))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("snapshot: %w", err)
	}
	defer layers.close()
	if _, err := statAt(layers.fd, name); err == unix.ENOENT {
		return 0, nil
	}
	trash, err := newSession(filepath.Join(base, tmpDir))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, trash.close()) }() // deletes what is in it
	gate, err := holdGate(base, filelock.Exclusive)
	if err != nil {
		return 0, err
	}
	defer gate.Close()
	l, err := layerAt(layers.fd, name)
	if err == nil && !l.Used.Before(unless) {
		return 0, ErrUsed
	}
	err = unix.Renameat(layers.fd, name, trash.fd, trash.tempName())
	if err == unix.ENOENT {
		return 0, nil
	}
	return l.Bytes, onDisk("rename", filepath.Join(base, layersDir, name), err)
}
