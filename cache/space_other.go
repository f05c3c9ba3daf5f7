//go:build !linux && !darwin && !windows

package cache

import (
	"errors"
	"os"
)

// freeSpace is how many bytes this user may still write to the file system of dir.
func freeSpace(dir string) (int64, error) {
	return 0, &os.PathError{Op: "free space", Path: dir, Err: errors.ErrUnsupported}
}
