package cache

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockShared takes a shared lock on f, waiting for an exclusive one to end. The
// lock ends when f is closed or the process ends.
func lockShared(f *os.File) error { return lockFile(f, 0) }

// journaled says that a file can be locked while it is written to: here a locked range is read-only.
const journaled = false

func tryLockShared(f *os.File) (bool, error) { return false, errors.ErrUnsupported }

// tryLock takes an exclusive lock on f if nobody else has any on it.
func tryLock(f *os.File) (bool, error) {
	err := lockFile(f, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

func lockFile(f *os.File, flags uint32) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	if err != nil {
		return &os.PathError{Op: "LockFileEx", Path: f.Name(), Err: err}
	}
	return nil
}
