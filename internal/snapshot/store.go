package snapshot

import (
	"errors"
	"fmt"
	"time"

	"github.com/stagewright/stagewright/internal/tree"
)

// MaxLowers is the number of lower directories above which a caller should merge some of them into one by [Store.Merged] or by
// [Store.Layer] with the difference of two trees. The kernel takes 500, but each layer adds about 0.35 µs to every lookup that fails (a compiler
// makes many), mounting 64 costs 0.4 ms against 0.1 ms for one, and the option string of mount(2), which older kernels need, ends at 4 kB.
const MaxLowers = 64

// Options configure a [Store]. The zero value is ready to use.
type Options struct {
	// UpperDir is a directory for uppers where the store's own filesystem cannot take one: overlayfs refuses an upper that itself lies on
	// an overlay (a builder in a container) or on a network filesystem. A tmpfs such as /dev/shm does; what steps write is then held in
	// memory until it is adopted by a copy. It is not used when the store's filesystem will do.
	UpperDir string

	// Since tells when the youngest lease of this process on the cache began; nil means that there is no lease, and that nobody removes anything. A layer
	// that was not used since then is marked as used before anybody counts on it, and [Remove] with an older time leaves it. It is called often.
	Since func() time.Time

	// Created, if not nil, is told of each layer that is about to get its name, and what it takes on the disk. It is called by several goroutines.
	Created func(id tree.Digest, bytes int64)

	// Parallel is the number of goroutines that write, read and hash files in one call; 0 means GOMAXPROCS, at most 8.
	Parallel int
}

// ScanOptions configure [Upper.Scan]. The zero value is ready to use.
type ScanOptions struct {
	// Epoch is the modification time given to everything that changed, in the result and on disk. The zero value means the Unix epoch.
	Epoch time.Time

	// MaxEntries bounds the entries that one step may leave; 0 means 4,000,000. More is a [*LimitError].
	MaxEntries int

	// MaxFileSize bounds the bytes of one file, holes included, since all of them are hashed; 0 means 64 GiB. More is a [*LimitError].
	MaxFileSize int64

	// Unlink takes a file that got another name, but is as base has it, for no change, as BuildKit does: the new name is then a file of its own, and the
	// link is lost. Without it both names are in the result, as one hard-link set.
	Unlink bool
}

const maxFileSize = 64 << 30

// A LimitError reports that a tree or an upper directory is larger than this package is willing to handle.
type LimitError struct {
	What string // "entries", "path length" and the like
	Path string // where it was found, relative to the root
	Max  int64  // the limit
}

// Error tells what is wrong, and where.
func (e *LimitError) Error() string {
	return fmt.Sprintf("snapshot: %q: more than %d %s", e.Path, e.Max, e.What)
}

// An UpperError reports that no place was found where overlayfs accepts an upper directory.
type UpperError struct {
	Dir        string // the directory that was looked at
	Filesystem string // its filesystem, "overlayfs" for instance
}

// Error tells what is wrong, and where.
func (e *UpperError) Error() string {
	return fmt.Sprintf("snapshot: %s is on %s, where overlayfs accepts no upper directory; put the cache on a local filesystem (ext4, xfs, btrfs) "+
		"or set Options.UpperDir to a tmpfs such as /dev/shm", e.Dir, e.Filesystem)
}

// A SizeError reports that the bytes given for a file are more or fewer than its tree node says.
type SizeError struct {
	Path string // relative to the root
	Want int64  // bytes, from the tree
	Got  int64  // bytes that came; one more than Want when the reader had not ended there
}

// Error tells what is wrong, and where.
func (e *SizeError) Error() string {
	return fmt.Sprintf("snapshot: %q: the content has %d bytes where the tree says %d", e.Path, e.Got, e.Want)
}

// ErrNotFound is wrapped by the errors of [Store.OpenFile] when the store has no such layer or the layer has no such file.
var ErrNotFound = errors.New("snapshot: not found")

// ErrDamaged says that a layer was not what it should be.
var ErrDamaged = errors.New("snapshot: damaged")

// ErrUsed is wrapped by the errors of [Remove] when a layer was used too lately.
var ErrUsed = errors.New("snapshot: the layer was used meanwhile")

// A Layer is one directory of a store.
type Layer struct {
	ID    tree.Digest
	Bytes int64     // allocated blocks on the disk, each inode once
	Used  time.Time // when a build last counted on it
}

// ErrClosed is returned by the methods of a [Store] after Close.
var ErrClosed = errors.New("snapshot: store is closed")

// layerName is the directory name of a layer.
func layerName(id tree.Digest) string { return fmt.Sprintf("%x", id[:]) }
