package cache

import (
	"context"
	"errors"
	"time"
)

// Kind says what sort of thing an [Entry] is. It is a word of lower case letters.
type Kind string

// The kinds that every store has. Those of areas are named by whoever keeps them.
const (
	KindRecord Kind = "record"
	KindBlob   Kind = "blob"
)

// Entry is one thing that a collector removes or keeps, as a whole.
type Entry struct {
	Kind Kind
	// ID names the entry among those of its kind: the key of a record and the digest of a blob in
	// hexadecimal digits, and what an [Area] calls its own. It has 1 to 255 bytes and no white space.
	ID string
	// Bytes is what the entry occupies on the disk: allocated blocks, each inode once. Entries that share a file have
	// equal parts of it.
	Bytes int64
	// Used is when the entry was last used, or made. One in the future, of a clock that was wrong, counts as now.
	Used time.Time
	// Detail says to people what the entry is. It may be empty.
	Detail string
}

// ErrInUse says that an entry was not removed because somebody uses it, or used it after the
// collector looked.
var ErrInUse = errors.New("cache: in use")

// Area is a part of the private directory ([DirStore]) that another package keeps, as
// [Disk.Collect] and [Disk.Usage] see it. Its methods are called from one goroutine at a time, while
// this and other processes use the area.
//
// The last use of an entry is the time of access of one of its files, which [Keeper.Used] stamps
// each time that the entry is found, before anything in it is relied on.
type Area interface {
	// Kind is that of all its entries. It is none of the kinds that this package names.
	Kind() Kind

	// Scan calls yield for each entry that there is, in any order, and returns the first error of
	// yield as it is. What is damaged or half removed is an entry as well; what is no entry (a lock,
	// somebody else's file) is left out. An area that is not there has no entries.
	Scan(ctx context.Context, yield func(Entry) error) error

	// Remove removes an entry whose last use is not later than used, and returns the bytes that it
	// occupied. So that a use at the same moment is not lost, the entry is first renamed to where
	// nobody finds it, then its last use is read once more, and if that is later the entry gets its
	// name back. What is renamed when the process is killed must be removed by somebody later.
	// Errors: [ErrInUse] when it was used later, or must stay for another reason; [ErrNotFound] when
	// there is none; anything else means that it is still there, whole or damaged.
	Remove(ctx context.Context, id string, used time.Time) (int64, error)
}

// Stater is an [Area] with so many entries that a collector should not scan it each time. Each entry
// that comes into being must be told to [Keeper.Created], before it gets its name.
type Stater interface {
	Area
	// Stat returns one entry as Scan does.
	// Errors: [ErrNotFound].
	Stat(ctx context.Context, id string) (Entry, error)
}

// Settler is an [Area] whose stamps can be set right. One in the future, which a clock that was wrong has made, would keep its entry until
// then. A collector has one that is more than an hour ahead set to an hour ahead: it is not removed as long as it may
// be that of a use which a lease covers, also of one that begins just now, and ages from then on.
type Settler interface {
	Area
	// Settle makes the last use of an entry another time. What cannot be set, or is not there any more, is left out.
	Settle(id string, used time.Time)
}

// Keeper is a [DirStore] that notes when files of its private directory are used. It does for an
// [Area] what a [Disk] does for its own records and blobs.
type Keeper interface {
	DirStore

	// Used notes that the file name was used just now, if that is not known yet, and reports whether
	// there is a file of that name. After true, a collector that does not see the use has not removed
	// the file and will not, while a lease covers it. A file whose times this process may not set is
	// reported as being there.
	Used(name string) bool

	// Created notes an entry of a [Stater] that is about to get its name. bytes is about what it will
	// occupy on the disk.
	Created(kind Kind, id string, bytes int64)

	// RemoveUnused removes the file name as [Area.Remove] removes an entry, for areas of which each
	// entry is a file.
	RemoveUnused(name string, used time.Time) (int64, error)
}
