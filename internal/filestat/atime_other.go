//go:build !linux && !dragonfly && !openbsd && !solaris && !darwin && !freebsd && !netbsd && !windows

package filestat

import "io/fs"

// Accessed is the time of access of a file in nanoseconds since the Unix epoch, 0 if there is none.
func Accessed(fs.FileInfo) int64 { return 0 }
