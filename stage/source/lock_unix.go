//go:build unix

package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that another process holds is tried again: flock(2)
// cannot wait for a context.
const lockPoll = 50 * time.Millisecond

// lockFile takes the lock of a file, which is made if it is missing. The lock ends with
// the process.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// nextMemo is the file in which a new memo is written, under its lock.
func nextMemo(path string) string {
	return filepath.Join(filepath.Dir(path), ".memo-"+filepath.Base(path))
}

// createMemo makes an empty file for a new memo in the place of path, or takes that of a process that was killed. It fails when another process
// is writing one.
func createMemo(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(nextMemo(path), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			if !isNamed(f) { // it has become the memo since it was opened
				f.Close()
				continue
			}
			err = f.Truncate(0)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
}

func isNamed(f *os.File) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(open, there)
}

// moveMemo gives a written file its name, and closes it.
func moveMemo(f *os.File, path string) error {
	err := os.Rename(f.Name(), path)
	if err != nil {
		os.Remove(f.Name())
	}
	return errors.Join(err, f.Close())
}

// sweepMemo removes what a process that was killed left of a new memo.
func sweepMemo(path string) {
	if _, err := os.Lstat(nextMemo(path)); err != nil {
		return
	}
	if f, err := createMemo(path); err == nil {
		os.Remove(f.Name())
		f.Close()
	}
}
