package keep

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stagewright/stagewright/internal/filestat"
)

// Files calls yield for each regular file in dir. It was last used when it was last written, or marked with [Touch]. A directory
// that does not exist has none. The errors are those of yield, of the disk and the context's.
func Files(ctx context.Context, dir string, yield func(Entry) error) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return ignoreGone(err)
	}
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		info, err := n.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return err
		}
		if err := yield(Entry{Name: n.Name(), Bytes: filestat.Allocated(info), Used: lastUse(info)}); err != nil {
			return err
		}
	}
	return nil
}

// touchPeriod is how often a file that is used all the time is marked.
const touchPeriod = time.Hour

// Touch marks a file as used now, unless it was within the last hour. What cannot be marked is used all the same.
func Touch(name string) {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	now := time.Now()
	if since := now.Sub(lastUse(info)); since < 0 || since >= touchPeriod {
		_ = os.Chtimes(name, now, time.Time{})
	}
}

// lastUse is the later of the times at which a file was written and marked.
func lastUse(info fs.FileInfo) time.Time {
	if at := filestat.Accessed(info); at > info.ModTime().UnixNano() {
		return time.Unix(0, at)
	}
	return info.ModTime()
}

// Bytes adds up what a directory takes on the disk, with everything below it. What disappears meanwhile does not count, nor does what may not be read.
func Bytes(ctx context.Context, dir string) (int64, error) {
	var sum int64
	seen := map[filestat.Inode]struct{}{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p == dir && d == nil {
			return err
		}
		if err != nil { // of reading a directory, which was counted before
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil
			}
			return err
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		if id, several := filestat.Shared(info); several {
			if _, counted := seen[id]; counted {
				return nil
			}
			seen[id] = struct{}{}
		}
		sum += filestat.Allocated(info)
		return nil
	})
	return sum, err
}

// RemoveAll removes a directory, also one in which a sandbox left directories that even their owner may not enter.
func RemoveAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, os.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
