//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd && !windows

package cache

import (
	"errors"
	"os"
)

func lockShared(f *os.File) error {
	return &os.PathError{Op: "lock", Path: f.Name(), Err: errors.ErrUnsupported}
}

func tryLock(f *os.File) (bool, error) { return false, lockShared(f) }

const journaled = false

func tryLockShared(f *os.File) (bool, error) { return false, lockShared(f) }
