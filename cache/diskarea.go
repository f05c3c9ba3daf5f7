package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stagewright/stagewright/internal/filestat"
)

// hashed is the area of a Disk's own records or blobs: files ab/HEX below a directory.
type hashed struct {
	disk *Disk
	kind Kind
	dir  string // below the Disk's
}

func (d *Disk) ownAreas() []*hashed {
	return []*hashed{{d, KindRecord, recordsDir}, {d, KindBlob, blobsDir}}
}

// hexLen is the length of a key and of a digest as a name.
const hexLen = 2 * len(Key{})

func (h *hashed) Kind() Kind { return h.kind }

func (h *hashed) root() string { return filepath.Join(h.disk.dir, h.dir) }

func (h *hashed) path(id string) string { return filepath.Join(h.root(), id[:2], id) }

// place is what each tells of a file.
type place uint8

const (
	entry     place = iota
	directory       // of entries
	strange         // neither
)

// each calls f for everything there is in an area, but not for what is in a strange directory.
func (h *hashed) each(ctx context.Context, f func(path string, info fs.FileInfo, what place) error) error {
	root, err := os.Lstat(h.root())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f(h.root(), root, directory); err != nil {
		return err
	}
	return eachInfo(h.root(), func(sub fs.FileInfo) error {
		dir := filepath.Join(h.root(), sub.Name())
		if !sub.IsDir() || !isHex(sub.Name(), 2) {
			return f(dir, sub, strange)
		}
		if err := f(dir, sub, directory); err != nil {
			return err
		}
		return eachInfo(dir, func(info fs.FileInfo) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			what, name := strange, info.Name()
			if info.Mode().IsRegular() && isHex(name, hexLen) && name[:2] == sub.Name() {
				what = entry
			}
			return f(filepath.Join(dir, name), info, what)
		})
	})
}

func (h *hashed) Scan(ctx context.Context, yield func(Entry) error) error {
	return h.each(ctx, func(_ string, info fs.FileInfo, what place) error {
		if what != entry {
			return nil
		}
		return yield(h.entry(info.Name(), info))
	})
}

func (h *hashed) Stat(_ context.Context, id string) (Entry, error) {
	if !isHex(id, hexLen) {
		return Entry{}, ErrNotFound
	}
	info, err := os.Lstat(h.path(id))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return Entry{}, ErrNotFound
	}
	if err != nil {
		return Entry{}, err
	}
	return h.entry(id, info), nil
}

func (h *hashed) entry(id string, info fs.FileInfo) Entry {
	return Entry{Kind: h.kind, ID: id, Bytes: filestat.Share(info), Used: time.Unix(0, lastUse(info))}
}

func (h *hashed) Remove(_ context.Context, id string, used time.Time) (int64, error) {
	if !isHex(id, hexLen) {
		return 0, ErrNotFound
	}
	return h.disk.RemoveUnused(h.path(id), used)
}

// RemoveUnused implements [Keeper].
func (d *Disk) RemoveUnused(name string, used time.Time) (int64, error) {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	limit := used.UnixNano()
	if lastUse(info) > limit {
		return 0, ErrInUse
	}
	s, err := d.currentSession(false)
	if err != nil {
		return 0, err
	}
	aside := filepath.Join(s.dir, rand.Text())
	if err := os.Rename(name, aside); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 0, ErrNotFound
		}
		return 0, err
	}
	if info, err = os.Lstat(aside); err == nil && lastUse(info) > limit {
		return 0, errors.Join(ErrInUse, putBack(aside, name))
	}
	if err == nil {
		err = os.Remove(aside)
	}
	if err != nil {
		return 0, err // it has lost its name, and goes with the session
	}
	if _, others := filestat.Shared(info); others {
		return 0, nil
	}
	return filestat.Allocated(info), nil
}

// putBack gives a file its name again, unless somebody has made it again meanwhile: that one is newer.
func putBack(aside, name string) error {
	err := os.Link(aside, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return os.Remove(aside)
	}
	return os.Rename(aside, name) // a file system without hard links
}

// Settle implements [Settler].
func (h *hashed) Settle(id string, used time.Time) {
	if isHex(id, hexLen) {
		_ = os.Chtimes(h.path(id), used, used)
	}
}

func isHex(s string, length int) bool {
	if len(s) != length {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// atOnce is how many names of a directory are held at a time.
const atOnce = 4096

// eachInfo calls f for each file of any kind in dir that is still there when it is looked at.
func eachInfo(dir string, f func(fs.FileInfo) error) error {
	return eachName(dir, func(e fs.DirEntry) error {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return f(info)
	})
}

func eachName(dir string, f func(fs.DirEntry) error) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(atOnce)
		for _, e := range entries {
			if err := f(e); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
