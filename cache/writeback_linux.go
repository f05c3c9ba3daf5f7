package cache

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback has the kernel begin to write bytes of a file to the disk, so that a sync at the end of a large one waits for the last of
// them alone. Nothing is on the disk for that; where the call is missing, the sync does it all.
func startWriteback(f *os.File, offset, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WRITE)
}
