package cache

import (
	"io/fs"
	"syscall"
)

// accessed is the time of access of a file in nanoseconds, 0 if there is none.
func accessed(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Win32FileAttributeData); ok {
		return st.LastAccessTime.Nanoseconds()
	}
	return 0
}
