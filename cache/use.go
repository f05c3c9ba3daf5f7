package cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stagewright/stagewright/internal/filestat"
)

// usePeriod is how old the stamp of an entry may grow while the entry is used. A use under a lease
// stamps whatever the lease does not cover yet, too.
const usePeriod = time.Hour

// Toucher is a [Store] that keeps what was used lately. Use [Touch].
type Toucher interface {
	// Touch is as the package function.
	Touch(ctx context.Context, keys []Key, blobs []Digest) error
}

// Touch notes that records and blobs are used now, without reading them: those that a program may
// still want under its lease, but has not asked for. What is not there is no error, and it is no
// error either if the store cannot note it, or is no [Toucher]. The error is the context's.
func Touch(ctx context.Context, s Store, keys []Key, blobs []Digest) error {
	if t, ok := s.(Toucher); ok {
		return t.Touch(ctx, keys, blobs)
	}
	return ctx.Err()
}

// Touch implements [Toucher].
func (d *Disk) Touch(ctx context.Context, keys []Key, blobs []Digest) error {
	names := make([]string, 0, len(keys)+len(blobs))
	for _, k := range keys {
		names = append(names, d.recordPath(k))
	}
	for _, g := range blobs {
		names = append(names, d.blobPath(g))
	}
	_ = inParallel(names, func(name string) error {
		d.Used(name)
		return ctx.Err()
	})
	return ctx.Err()
}

// TouchRecords is Touch of records, and tells their state: a digest that is another one once any of them was put, put
// again or removed. So who remembers the state, taken before he reads the records, with what he read need not read them again to know that it holds.
// Of two Puts of as many bytes within the resolution of the clock of the file system, some milliseconds, the second may go unseen.
// The error is the context's.
func (d *Disk) TouchRecords(ctx context.Context, keys []Key) (state Digest, err error) {
	sum := sha256.New()
	var line []byte
	of := d.batches.byKey()
	whole := map[*batch]fs.FileInfo{} // nil for one that has lost a name
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return state, err
		}
		in := of[k]
		info, known := whole[in]
		if in != nil && !known {
			info = d.useBatch(in, k)
			whole[in] = info
		}
		if info == nil {
			info = d.useName(d.recordPath(k))
		}
		line = append(line, k[:]...)
		if info == nil {
			line = append(line, "none"...)
		} else {
			line = append(line, "put "...)
			line = binary.BigEndian.AppendUint64(line, uint64(info.ModTime().UnixNano()))
			line = binary.BigEndian.AppendUint64(line, uint64(info.Size()))
		}
		if len(line) > 4<<10 {
			sum.Write(line)
			line = line[:0]
		}
	}
	sum.Write(line)
	sum.Sum(state[:0])
	return state, ctx.Err()
}

// useName notes that the file name is used now, and returns what it is, nil when it is not there.
func (d *Disk) useName(name string) fs.FileInfo {
	info, err := os.Lstat(name)
	if err != nil || !d.use(name, info) {
		return nil
	}
	return info
}

// useBatch notes that all records of a batch are used now, by the name of one of them, and returns what its file is: nil unless it has
// as many names as records, which are then all there.
func (d *Disk) useBatch(b *batch, one Key) fs.FileInfo {
	name := d.recordPath(one)
	if d.useName(name) == nil {
		return nil
	}
	info, err := os.Lstat(name) // as it is with the new stamp: a collector that takes a name away from now on sees that
	if err != nil || !b.is(info) || filestat.Names(info) != len(b.records) {
		return nil
	}
	return info
}

// Used implements [Keeper].
func (d *Disk) Used(name string) bool { return d.useName(name) != nil }

// use stamps the file name unless its stamp is new enough, and reports whether it is still there.
//
// The stamp is put on the name, not on an open file: a collector takes the name away before it looks
// at the stamp for the last time. So either the collector sees the stamp and puts the file back, or
// the name was gone, which is seen here.
func (d *Disk) use(name string, info fs.FileInfo) bool {
	now := d.useTime()
	if lastUse(info) >= max(d.uses.youngest.Load(), now-int64(usePeriod)) {
		return true
	}
	return !errors.Is(stamp(name, now), fs.ErrNotExist)
}

// useTime is what an entry that is used now is stamped with, in nanoseconds. A clock that was set back
// since a lease began must not take the entry out of it.
func (d *Disk) useTime() int64 { return max(d.uses.youngest.Load(), d.clock().UnixNano()) }

// stamp sets the last use of a file.
func stamp(name string, use int64) error { return os.Chtimes(name, time.Unix(0, use), time.Time{}) }

// lastUse is when a file was last used, in nanoseconds: accessed, or on file systems that keep no such
// time, made.
func lastUse(info fs.FileInfo) int64 { return max(filestat.Accessed(info), info.ModTime().UnixNano()) }

// uses knows the leases of one Disk.
type uses struct {
	mu   sync.Mutex
	open int // leases
	// youngest is when the last of the leases began, in nanoseconds; 0 when all have ended. It says
	// when an entry that is used must be stamped once more, so it may be that of a lease that ended.
	youngest atomic.Int64
}

func (u *uses) begin(start int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open++
	u.youngest.Store(max(start, u.youngest.Load()))
}

func (u *uses) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open--; u.open == 0 {
		u.youngest.Store(0)
	}
}
