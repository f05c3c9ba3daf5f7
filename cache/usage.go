package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
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
// instant when the store is being written to. What may not be looked at is left out.
func (d *Disk) Usage(ctx context.Context, areas ...Area) (*Usage, error) {
	u := &Usage{Free: -1}
	if free, err := freeSpace(d.dir); err == nil {
		u.Free = free
	}
	all := []Area{}
	for _, a := range d.ownAreas() {
		all = append(all, a)
	}
	for _, a := range append(all, areas...) {
		k, err := kindUsage(ctx, a)
		if err != nil {
			return nil, d.wrapCollect(err)
		}
		u.Kinds = append(u.Kinds, k)
		u.Other -= k.Bytes
	}
	total, err := diskUsage(ctx, d.dir)
	if err != nil {
		return nil, d.wrapCollect(err)
	}
	u.Total = total
	u.Other = max(0, u.Other+total)
	return u, nil
}

func kindUsage(ctx context.Context, a Area) (KindUsage, error) {
	k := KindUsage{Kind: a.Kind()}
	err := a.Scan(ctx, func(e Entry) error {
		k.Entries++
		k.Bytes += e.Bytes
		if k.Oldest.IsZero() || e.Used.Before(k.Oldest) {
			k.Oldest = e.Used
		}
		if e.Used.After(k.Newest) {
			k.Newest = e.Used
		}
		return nil
	})
	return k, err
}

// diskUsage is what a directory occupies with all that is in it, each inode counted once.
func diskUsage(ctx context.Context, dir string) (int64, error) {
	var total int64
	seen := map[[2]uint64]struct{}{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil
			}
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return nil // it has gone since
		}
		if id, ok := inode(info); ok {
			if _, again := seen[id]; again {
				return nil
			}
			seen[id] = struct{}{}
		}
		total += allocated(info)
		return nil
	})
	return total, err
}
