package cache

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
)

// livingLeases returns when the oldest and the youngest of the living leases began, in nanoseconds;
// math.MaxInt64 and 0 when there are none. A lease that is taken meanwhile may be left out: it begins
// when its file is locked, which is after the call.
func livingLeases(root string) (oldest, youngest int64, err error) {
	oldest = math.MaxInt64
	dir := filepath.Join(root, leasesDir)
	err = eachInfo(dir, func(info fs.FileInfo) error {
		if isAlive(filepath.Join(dir, info.Name())) {
			start := info.ModTime().UnixNano()
			oldest, youngest = min(oldest, start), max(youngest, start)
		}
		return nil
	})
	return oldest, youngest, err
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
	free, err := filelock.Try(f, filelock.Exclusive)
	return err != nil || !free
}

// beginLease makes the time of modification of a new lease, whose lock is held, that of its beginning,
// and returns it as the file system keeps it.
func beginLease(f *os.File, now time.Time) (int64, error) {
	if err := os.Chtimes(f.Name(), now, now); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.ModTime().UnixNano(), nil
}
