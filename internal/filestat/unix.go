//go:build unix

package filestat

import (
	"io/fs"
	"syscall"
)

// Allocated is what a file takes on the disk, in bytes.
func Allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512 // whatever the file system's blocks are: stat(2)
	}
	return info.Size()
}

// Share is what one of a file's names stands for of what the file takes on the disk, in bytes: all of it for one with one name.
func Share(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return Allocated(info) / max(1, int64(st.Nlink))
	}
	return Allocated(info)
}

// Names is how many names a file has: hard links.
func Names(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Nlink)
	}
	return 1
}

// Shared names the inode of a file that has several names; ok is false for one with one name, and for directories.
func Shared(info fs.FileInfo) (id Inode, ok bool) {
	st, isUnix := info.Sys().(*syscall.Stat_t)
	if !isUnix || info.IsDir() || st.Nlink < 2 {
		return id, false
	}
	return Inode{uint64(st.Dev), uint64(st.Ino)}, true
}
