//go:build linux || dragonfly || openbsd || solaris

package filestat

import (
	"io/fs"
	"syscall"
)

// Accessed is the time of access of a file in nanoseconds since the Unix epoch, 0 if there is none.
func Accessed(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Atim.Nano()
	}
	return 0
}
