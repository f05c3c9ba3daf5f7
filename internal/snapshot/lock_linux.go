package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/filelock"
	"github.com/stagewright/stagewright/internal/tree"
)

// lockWait takes the lock file at path, waiting for it; closing the file releases it. For locks that are held for microseconds only.
func lockWait(path string, mode filelock.Mode) (*os.File, error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	if err := filelock.Wait(f, mode); err != nil {
		f.Close()
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return f, nil
}

// lockTry takes the lock file at path if nobody has it.
func lockTry(path string) (*os.File, error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	ok, err := filelock.Try(f, filelock.Exclusive)
	if !ok && err == nil {
		err = unix.EWOULDBLOCK
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lockLayer takes the lock of one layer, which another process may hold as long as it makes the layer, and returns how to release it. It
// is a lock on one byte of one file, at an offset taken from the id: no file to make or to clean up for each layer. A waiting fcntl(2)
// cannot be cancelled, so it is tried again at growing intervals of at most 50 ms. Goroutines of one store share the lock.
func (s *Store) lockLayer(ctx context.Context, id tree.Digest) (release func(), err error) {
	at := int64(binary.LittleEndian.Uint64(id[:8]) >> 2)
	set := func(kind int16) error {
		return unix.FcntlFlock(s.locks.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: at, Len: 1})
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		switch err := set(unix.F_WRLCK); err {
		case nil:
			return func() { _ = set(unix.F_UNLCK) }, nil
		case unix.EAGAIN, unix.EACCES, unix.EINTR:
		default:
			return nil, fmt.Errorf("snapshot: locking %s: %w", s.locks.Name(), err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return f, nil
}
