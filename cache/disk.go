package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/stagewright/stagewright/internal/filestat"
)

// DiskOptions adjusts a [Disk]. The zero value is right for almost everybody.
type DiskOptions struct {
	// NoSync leaves it to the kernel when bytes reach the disk. It is faster
	// where much is written. What a killed process leaves is as good as with
	// syncing; a power cut may leave records whose blobs are missing or
	// damaged, and reading those blobs then says so.
	NoSync bool
	// Existing opens only a store that is there: where there is none, nothing is made, and the error wraps [ErrNoCache].
	Existing bool
}

// Disk is a [Store] in a directory, shared by any number of processes of one
// machine at the same time. FORMAT.md beside this file describes the directory.
//
// A process may be killed at any instant, or the machine lose power, and the
// store stays good: a file is visible only when it is whole, and a record only
// when the blobs committed before it are on the disk. What a killed process
// left behind is removed by the next one that writes.
//
// Its methods may be called by several goroutines at once. Reading needs no
// lock, and sets no more than the time of access of what it finds, if it may: a
// store on a read-only file system can be read.
// Everyone who may write to the directory decides what is in your images.
type Disk struct {
	dir  string // absolute
	opts DiskOptions

	// flush makes blob files durable; a field so that tests see and fail it.
	flush func(root string, blobs []string) error
	// clock is time.Now; a field so that tests set it.
	clock func() time.Time

	mu      sync.Mutex
	closed  bool
	session *session

	durability durability
	uses       uses
	journal    journal
	batches    batches
}

var (
	_ Store    = (*Disk)(nil)
	_ Batcher  = (*Disk)(nil)
	_ Leaser   = (*Disk)(nil)
	_ DirStore = (*Disk)(nil)
	_ Dropper  = (*Disk)(nil)
	_ Locker   = (*Disk)(nil)
	_ Toucher  = (*Disk)(nil)
	_ Keeper   = (*Disk)(nil)
)

// OpenDisk opens the store in dir, which it creates if it is missing or empty.
// A directory that it creates is for its owner alone. Opening an existing store
// writes nothing and scans nothing.
//
// Errors: [ErrNoCache] with DiskOptions.Existing; [*ForeignError] when dir holds something else, into which nothing is
// then written; [*VersionError] when another version of this library made it;
// [*DiskError] when it cannot be read or made, or when everybody may write to it.
func OpenDisk(dir string, o DiskOptions) (*Disk, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, &DiskError{Op: "open", Dir: dir, Err: err}
	}
	switch err := checkVersion(abs); {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && o.Existing:
		return nil, &DiskError{Op: "open", Dir: abs, Err: ErrNoCache}
	case errors.Is(err, fs.ErrNotExist):
		if err := initDisk(abs); err != nil {
			return nil, err
		}
	default:
		return nil, err
	}
	if err := checkAccess(abs); err != nil {
		return nil, &DiskError{Op: "open", Dir: abs, Err: err}
	}
	// Promised to exist by Dir. A store that cannot be written has it already
	// or has no use for it.
	_ = os.Mkdir(filepath.Join(abs, privateDir), 0o700)
	return &Disk{dir: abs, opts: o, flush: flushBlobs, clock: time.Now}, nil
}

// Dir implements [DirStore].
func (d *Disk) Dir() string { return filepath.Join(d.dir, privateDir) }

// Close removes what this Disk has under way: a [Writer] not yet committed
// fails. After it, writing, Lease and Collect fail with [fs.ErrClosed]; reading, open
// blobs and leases go on. A second Close does nothing. A process that ends
// without Close does no harm.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.journal.Close()
	if d.session == nil {
		return nil
	}
	err := d.session.close()
	d.session = nil
	return d.wrap("close", err)
}

func (d *Disk) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// temp makes a new temporary file in the store's file system.
func (d *Disk) temp(mode fs.FileMode) (*os.File, error) {
	for again := false; ; again = true {
		s, err := d.currentSession(again)
		if err != nil {
			return nil, err
		}
		f, err := os.OpenFile(filepath.Join(s.dir, rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		// Somebody may have emptied tmp by hand: start again, once.
		if errors.Is(err, fs.ErrNotExist) && !again {
			continue
		}
		return f, err
	}
}

// currentSession returns the session, a new one on the first call or if fresh.
func (d *Disk) currentSession(fresh bool) (*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fs.ErrClosed
	}
	if fresh && d.session != nil {
		_ = d.session.close() // its directory is gone; only the lock is released
		d.session = nil
	}
	if d.session == nil {
		s, err := openSession(d.dir)
		if err != nil {
			return nil, err
		}
		d.session = s
	}
	return d.session, nil
}

// promptly is how long before its place a temporary file may have been made to need no other stamp.
const promptly = time.Second

// moveIn gives a finished temporary file its place and its first stamp, and notes it in the journal.
func (d *Disk) moveIn(temp string, info fs.FileInfo, target string, kind Kind, id string) error {
	used := d.stampNew(temp, info)
	if !d.replaces(target) {
		d.created(kind, line{used, filestat.Allocated(info), id})
	}
	if err := moveInto(temp, target); err != nil {
		return err
	}
	// Since the first stamp somebody may have found, or put, under a younger lease what has been replaced now.
	_ = stamp(target, d.useTime())
	return nil
}

// stampNew gives a finished temporary file its first stamp, unless it was made just now.
func (d *Disk) stampNew(temp string, info fs.FileInfo) int64 {
	used, now := lastUse(info), d.useTime()
	if used < max(d.uses.youngest.Load(), now-int64(promptly)) {
		used = now
		_ = stamp(temp, now)
	}
	return used
}

// replaces reports whether there is a file in the place of a new one that no collector takes away before it
// is replaced: then the journal has the entry already.
func (d *Disk) replaces(target string) bool {
	info, err := os.Lstat(target)
	if err != nil {
		return false
	}
	if lease := d.uses.youngest.Load(); lease > 0 && lastUse(info) >= lease {
		return true
	}
	return stamp(target, d.useTime()) == nil
}

// moveInto renames a finished temporary file to its place.
func moveInto(temp, target string) error {
	err := os.Rename(temp, target)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		err = os.Rename(temp, target)
	}
	return err
}

// Lease implements [Leaser]: a file of its own under a shared lock.
func (d *Disk) Lease(ctx context.Context) (io.Closer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.isClosed() {
		return nil, d.wrap("lease", fs.ErrClosed)
	}
	l, err := openLease(d.dir, &d.uses, d.clock)
	if err != nil {
		return nil, d.wrap("lease", err)
	}
	return l, nil
}

func (d *Disk) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &DiskError{Op: op, Dir: d.dir, Err: err}
}

// notFound makes the message of a miss.
func notFound(what fmt.Stringer) error { return fmt.Errorf("%w: %v", ErrNotFound, what) }
