// Package filelock takes locks on open files, by which processes keep out of each other's way.
//
// A lock belongs to the open file: two of one process exclude each other as those of two processes do. It ends when the file is
// closed, and with the process, however that ends. All functions may be called by several goroutines at once.
//
// Locks are those of flock(2), or of LockFileEx on Windows, where a locked file can only be read: see [Advisory]. Elsewhere, and on a file system
// that cannot lock, the errors wrap [errors.ErrUnsupported] or are those of the system.
package filelock

import (
	"context"
	"os"
	"time"
)

// Mode says who else may have a lock.
type Mode int

const (
	Exclusive Mode = iota // nobody
	Shared                // others with a shared one
)

// maxWait is the longest time between two attempts of [Lock].
const maxWait = 20 * time.Millisecond

// Lock takes a lock, waiting for others who have it. No system's lock waits for a context, so it is tried again, at intervals that grow to 20 ms.
// The error is the context's cause, or an [os.PathError].
func Lock(ctx context.Context, f *os.File, m Mode) error {
	for wait := time.Millisecond; ; wait = min(2*wait, maxWait) {
		if ok, err := Try(f, m); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// Path is [Lock] of a file that is made if it is missing, for its owner alone, and stays. The returned function ends the lock.
func Path(ctx context.Context, name string, m Mode) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := Lock(ctx, f, m); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// TryPath is [Path] without waiting: ok is false when somebody has a lock that excludes this one.
func TryPath(name string, m Mode) (unlock func(), ok bool, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	if ok, err := Try(f, m); !ok {
		f.Close()
		return nil, false, err
	}
	return func() { f.Close() }, true, nil
}

// Wait is [Lock] for locks that nobody has for more than microseconds: nothing ends the waiting.
func Wait(f *os.File, m Mode) error {
	_, err := lock(f, m, true)
	return err
}

// Try takes a lock unless somebody has one that excludes it, and reports whether it did.
func Try(f *os.File, m Mode) (bool, error) { return lock(f, m, false) }
