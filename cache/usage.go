package cache

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
	"github.com/stagewright/stagewright/internal/filestat"
)

// Usage is what a store occupies on the disk.
type Usage struct {
	// Kinds has the records, the blobs, and each area in the order given.
	Kinds []KindUsage
	// Other is what is no entry: directories, temporary files of running processes, the journal, and
	// what is in areas that were not given.
	Other int64
	// Total is the sum: allocated blocks, each inode counted once, as du(1) has it.
	Total int64
	// Free is how many bytes this user may still write to the file system; -1 if that cannot be told.
	Free int64
}

// KindUsage is what the entries of one kind occupy.
type KindUsage struct {
	Kind    Kind
	Entries int
	Bytes   int64
	// Oldest and Newest are the least and the greatest last use, the zero time without entries.
	Oldest, Newest time.Time
}

// Usage looks at every file of the store and says what it occupies. The result is that of no single
// instant when the store is being written to. What may not be looked at is left out. What it finds out
// it notes in the journal, unless another collection is under way there.
func (d *Disk) Usage(ctx context.Context, areas ...Area) (*Usage, error) {
	u := &Usage{Free: -1}
	if free, err := freeSpace(d.dir); err == nil {
		u.Free = free
	}
	m := &meter{ctx: ctx, seen: map[filestat.Inode]struct{}{}}
	all := []Area{}
	for _, a := range d.ownAreas() {
		all = append(all, metered{a, m})
	}
	u.Kinds = make([]KindUsage, len(all)+len(areas))
	now := d.clock()
	note := func(e Entry) {
		if e.Used.After(now) {
			e.Used = now
		}
		u.note(e)
	}
	var scans []Area
	for i, a := range append(all, areas...) {
		u.Kinds[i].Kind = a.Kind()
		if _, ok := a.(Stater); ok && filelock.Advisory {
			scans = append(scans, a)
			continue
		}
		if err := a.Scan(ctx, func(e Entry) error {
			e.Kind = a.Kind()
			note(e)
			return nil
		}); err != nil {
			return nil, d.wrapCollect(err)
		}
	}
	if err := d.recount(ctx, scans, note); err != nil {
		return nil, d.wrapCollect(err)
	}
	if err := m.walk(d.dir, filepath.Join(d.dir, blobsDir), filepath.Join(d.dir, recordsDir)); err != nil {
		return nil, d.wrapCollect(err)
	}
	u.Total = m.total
	u.Other = m.total
	for _, k := range u.Kinds {
		u.Other -= k.Bytes
	}
	u.Other = max(0, u.Other)
	return u, nil
}

// recount makes new ledgers of some areas, if it may.
func (d *Disk) recount(ctx context.Context, scans []Area, note func(Entry)) error {
	lock, err := d.lockCollect(ctx, Policy{NoWait: true})
	b := openBooks(filepath.Join(d.dir, journalDir))
	rerr := b.read(ctx, scans, d.clock(), err == nil, note)
	if err != nil {
		return rerr
	}
	defer lock.Close()
	if rerr == nil {
		_ = b.save() // else they stay as they were
	}
	return rerr
}

// note counts an entry.
func (u *Usage) note(e Entry) {
	for i := range u.Kinds {
		if k := &u.Kinds[i]; k.Kind == e.Kind {
			k.Entries++
			k.Bytes += e.Bytes
			if k.Oldest.IsZero() || e.Used.Before(k.Oldest) {
				k.Oldest = e.Used
			}
			if e.Used.After(k.Newest) {
				k.Newest = e.Used
			}
		}
	}
}

// meter adds up what files occupy, each inode once.
type meter struct {
	ctx   context.Context
	seen  map[filestat.Inode]struct{}
	total int64
}

func (m *meter) add(info fs.FileInfo) {
	if id, ok := filestat.Shared(info); ok {
		if _, again := m.seen[id]; again {
			return
		}
		m.seen[id] = struct{}{}
	}
	m.total += filestat.Allocated(info)
}

// walk adds a directory with all that is in it, but what is in some directories.
func (m *meter) walk(dir string, but ...string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil
			}
			return err
		}
		if slices.Contains(but, path) {
			return fs.SkipDir
		}
		if info, err := e.Info(); err == nil { // else it has gone since
			m.add(info)
		}
		return nil
	})
}

// metered is an own area whose Scan also adds up what it meets.
type metered struct {
	*hashed
	meter *meter
}

func (a metered) Scan(ctx context.Context, yield func(Entry) error) error {
	return a.each(ctx, func(path string, info fs.FileInfo, what place) error {
		if what == strange && info.IsDir() {
			return a.meter.walk(path)
		}
		a.meter.add(info)
		if what != entry {
			return nil
		}
		return yield(a.entry(info.Name(), info))
	})
}
