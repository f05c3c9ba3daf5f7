//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Advisory says that a locked file can be written to all the same.
const Advisory = true

func lock(f *os.File, m Mode, wait bool) (bool, error) {
	how := unix.LOCK_EX
	if m == Shared {
		how = unix.LOCK_SH
	}
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case err != unix.EINTR:
			return false, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}
