package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ErrNoCache says that there is no cache in a directory, or no directory. See DiskOptions.Existing.
var ErrNoCache = errors.New("there is no cache; a build makes one")

// DiskError says that the directory of a [Disk] could not be read or written.
type DiskError struct {
	// Op is what was being done: "open", "get", "put" and so on.
	Op string
	// Dir is the store's directory.
	Dir string
	// Err is the cause.
	Err error
}

// Error names the directory, the cause, and what to do where that is known.
func (e *DiskError) Error() string {
	msg := fmt.Sprintf("cache: %s in %s: %v", e.Op, e.Dir, e.Err)
	switch {
	case errors.Is(e.Err, syscall.ENOSPC), errors.Is(e.Err, syscall.EDQUOT):
		msg += "; free some space there or use another cache directory"
	case errors.Is(e.Err, syscall.EROFS), errors.Is(e.Err, fs.ErrPermission):
		msg += "; use a cache directory that you may write to"
	}
	return msg
}

// Unwrap returns the cause.
func (e *DiskError) Unwrap() error { return e.Err }

// VersionError says that the directory holds a store in another format.
type VersionError struct {
	Dir string
	// Got is the format found, Want the one that this library reads.
	Got, Want string
}

// Error names the directory, both formats, and what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("cache: %s has format %q and this program needs %q; use another directory, or remove that one: it is a cache and will be filled again", e.Dir, e.Got, e.Want)
}

// ForeignError says that the directory holds something that is no store.
type ForeignError struct {
	Dir string
	// Found is the name of one entry in it; empty when Dir is no directory.
	Found string
}

// Error names the directory and what was found there.
func (e *ForeignError) Error() string {
	if e.Found == "" {
		return fmt.Sprintf("cache: %s is not a directory; give the path of an empty or new one", e.Dir)
	}
	return fmt.Sprintf("cache: %s holds something that is no cache (%q); give the path of an empty or new directory", e.Dir, e.Found)
}
