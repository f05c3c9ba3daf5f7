package cache

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"
)

// oldestLease returns when the oldest of the living leases began, in nanoseconds, and
// math.MaxInt64 when there is none. A lease that is taken meanwhile may be left out: it begins when
// its file is locked, which is after the call.
func oldestLease(root string) (int64, error) {
	oldest := int64(math.MaxInt64)
	dir := filepath.Join(root, leasesDir)
	err := eachInfo(dir, func(info fs.FileInfo) error {
		if isAlive(filepath.Join(dir, info.Name())) {
			oldest = min(oldest, info.ModTime().UnixNano())
		}
		return nil
	})
	return oldest, err
}

// isAlive reports whether somebody holds the lock of a lease, or may hold it.
func isAlive(name string) bool {
	f, _, err := openRegular(name)
	if errors.Is(err, errNoFile) {
		return false
	}
	if err != nil {
		return true
	}
	defer f.Close()
	free, err := tryLock(f)
	return err != nil || !free
}

// beginLease makes the time of modification of a new lease, whose lock is held, that of its beginning,
// and returns it as the file system keeps it.
func beginLease(f *os.File) (int64, error) {
	now := time.Now()
	if err := os.Chtimes(f.Name(), now, now); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.ModTime().UnixNano(), nil
}
