// Package source turns a directory, an [fs.FS], an archive, a URL or a git commit into a
// flat, sorted listing whose files have content digests. It is where the files of a COPY
// come from.
//
// Start with [Dir] for a directory on disk (a build context with its
// .dockerignore), [FS] for any [fs.FS], [Tar] for an archive, [HTTP] for a download or
// [Git] for a repository; then call List, and Hash for the entries that are wanted. A
// source that is an [io.Closer] keeps something until it is closed.
//
// # Guarantees
//
// List opens directories but no file. Hash opens only the files that it is
// given, and with a [Memo] only those whose stat signature changed since their
// digest was taken. A symbolic link inside the source is listed, never
// followed; Open and Hash resolve each path beneath the root without following
// a link at any component, so that a tree which changes during the build cannot
// lead outside. Devices, sockets and named pipes are never opened. A file that
// changes while it is read is an error, never a digest of a mixture.
//
// # Limits
//
// Paths are at most 4095 bytes, a listing at most 10 million entries, an ignore
// file at most 1 MiB with 10,000 patterns. What is beyond is refused with an
// error. A listing is taken while the directory may change: each entry is
// consistent with itself, the whole is not a snapshot.
//
// # Concurrency
//
// Every type here may be used from several goroutines at once, except that two
// calls of Hash must not be given the same *Entry at the same time. Several
// processes may share one memo directory.
package source

import (
	"context"
	"io"
	"io/fs"

	"github.com/stagewright/stagewright/cache"
)

// Entry is one file, directory, link or special file of a listing.
type Entry struct {
	// Path is slash separated, relative to the root, clean, and never empty or
	// ".": the root itself is not listed. It need not be valid UTF-8.
	Path string
	// Mode holds the type and the permission bits, with setuid, setgid and
	// sticky as [fs.FileMode] spells them.
	Mode fs.FileMode
	// UID and GID own the file on disk; 0 where the source has no owners.
	UID, GID uint32
	// Size is the length of a regular file in bytes, 0 for everything else.
	Size int64
	// Mtime is the modification time in nanoseconds since the Unix epoch, 0
	// when the source has none.
	Mtime int64
	// Link is the target of a symbolic link, unchanged.
	Link string
	// Major and Minor number a device.
	Major, Minor uint32
	// Group is not zero when several names of this listing are hard links of one
	// inode; they have the same number, which is the same in each listing of the same
	// files.
	Group uint64
	// Xattrs are the extended attributes sorted by name, listed only when
	// [DirOptions].Xattrs asks for them.
	Xattrs []Xattr
	// Digest is the SHA-256 of a regular file's content: zero until Hash filled it.
	Digest cache.Digest

	id identity
}

// Xattr is one extended attribute. Value must not be edited.
type Xattr struct {
	Name  string
	Value []byte
}

// identity is what a stat says about a file beyond what an image keeps; with
// size and mtime it is the signature by which a memo recognises a file.
type identity struct {
	known      bool // the platform reports what follows
	ctime      int64
	dev, inode uint64
	links      bool // other names of the same inode exist

	memo    *cache.Digest // what a memo knew of this signature when the file was listed
	bare    bool          // it has no extended attributes, and one that is set later moves the ctime
	learned bool          // bare, which the memo did not know
}

// sameFile reports whether two stats describe one regular file that has not
// been written in between, as far as a stat can tell.
func (e *Entry) sameFile(o *Entry) bool {
	return e.Mode == o.Mode && e.Size == o.Size && e.Mtime == o.Mtime &&
		e.id.ctime == o.id.ctime && e.id.inode == o.id.inode && e.id.dev == o.id.dev
}

// Files is one source of files. [*Directory], [*FSFiles], [*TarFiles],
// [*HTTPFile] and [*GitFiles] implement it.
type Files interface {
	// List returns what the source holds, less what is ignored: depth first,
	// parents before children, names in byte order within each directory. No
	// file is opened. Errors: *[AccessError], *[ChangedError], *[LimitError],
	// the context's.
	List(ctx context.Context) ([]Entry, error)
	// Hash fills Digest of the regular files among entries, which List returned,
	// in parallel; other entries are left alone. Errors: *[AccessError],
	// *[ChangedError] for a file that is no longer what was listed, the
	// context's. After an error some digests may be filled; those are right.
	Hash(ctx context.Context, entries []*Entry) error
	// Open gives the bytes of the regular file at path, ignored or not. Errors
	// wrap [fs.ErrNotExist] when nothing is there and [ErrNotRegular] when it is
	// anything but a regular file reached without a link.
	Open(path string) (io.ReadCloser, error)
	// Why explains for a message what the source knows of path: whether it
	// exists, which rule hides it, which names are near. A path that does not
	// exist is a Verdict, not an error.
	Why(path string) (Verdict, error)
	// String names the source for a message: "directory /abs/path".
	String() string
}

// Rule is where an ignore pattern was written. The zero Rule is no rule.
type Rule struct {
	File    string // as named to ParseIgnore
	Line    int    // from 1
	Pattern string // as written, without the spaces around it
}

// Verdict says what a source knows of one path.
type Verdict struct {
	Source  string      // the String of the Files that was asked
	Path    string      // the path asked for, cleaned
	Exists  bool        // it is there, ignored or not
	Mode    fs.FileMode // type and permissions of it, or of NotDir
	Ignored bool        // an ignore rule hides it
	Rule    Rule        // the rule that hides it
	Hidden  string      // what the rule matched: Path or a directory above it
	NotDir  string      // a part above Path that is there but no directory; links are not followed
	Missing string      // the first part of Path that does not exist
	Near    []string    // paths that are there and look alike, the best first, at most 3
}
