package source

import "io"

// Limits of a listing.
const (
	maxPath    = 4095 // bytes: what Linux accepts in one call
	maxEntries = 10_000_000
)

// beneath reaches what lies below one directory and nothing else: no component
// of a path is followed when it is a link. Methods may be called from several
// goroutines at once. Errors are *fs.PathError or bare errno values.
type beneath interface {
	// openDir opens the directory at path, "" for the root.
	openDir(path string) (dirHandle, error)
	// openFile opens what is at path for reading without ever blocking on it.
	// The caller checks with stat that it is a regular file.
	openFile(path string) (fileHandle, error)
	// lstat fills e as dirHandle.stat does, for any path.
	lstat(path string, e *Entry) error
	// clock is the time that the kernel would give to a file that is
	// written now, in nanoseconds since the Unix epoch.
	clock() int64
	// remote reports whether file times here may come from another clock.
	remote() bool
	// stampsXattrs reports whether setting an extended attribute of a file of
	// the device moves its ctime for certain.
	stampsXattrs(dev uint64) bool
	io.Closer
}

// dirHandle is one open directory. It is used by one goroutine.
type dirHandle interface {
	// names returns the names in the directory in any order, again at each call.
	names() ([]string, error)
	// stat fills all of e but Path, Xattrs, Group and Digest, following no link.
	stat(name string, e *Entry) error
	// xattrs fills e.Xattrs, where the system has them.
	xattrs(name string, e *Entry) error
	io.Closer
}

// fileHandle is one open file.
type fileHandle interface {
	io.ReadCloser
	// stat fills e as dirHandle.stat does, without extended attributes.
	stat(e *Entry) error
}
