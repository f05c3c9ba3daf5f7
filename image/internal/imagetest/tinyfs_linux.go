package imagetest

import (
	"os"
	"strconv"
	"syscall"
	"testing"
)

// TinyFS mounts a file system of size bytes and returns its directory. It skips the test where that is not allowed.
func TinyFS(tb testing.TB, size int) string {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("mounting a small file system needs root")
	}
	dir := tb.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
		tb.Skipf("mounting a small file system: %v", err)
	}
	tb.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			tb.Error(err)
		}
	})
	return dir
}
