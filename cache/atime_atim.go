//go:build linux || dragonfly || openbsd || solaris

package cache

import (
	"io/fs"
	"syscall"
)

// accessed is the time of access of a file in nanoseconds, 0 if there is none.
func accessed(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Atim.Nano()
	}
	return 0
}
