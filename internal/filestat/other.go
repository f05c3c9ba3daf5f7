//go:build !unix

package filestat

import "io/fs"

// Allocated is what a file takes on the disk, in bytes: nearly, since nothing tells.
func Allocated(info fs.FileInfo) int64 {
	const cluster = 4096
	return (info.Size() + cluster - 1) / cluster * cluster
}

// Share is what one of a file's names stands for of what the file takes on the disk, in bytes: all of it for one with one name.
func Share(info fs.FileInfo) int64 { return Allocated(info) }

// Names is how many names a file has, as far as is known.
func Names(fs.FileInfo) int { return 1 }

// Shared names the inode of a file that has several names; ok is false for one with one name, and for directories.
func Shared(fs.FileInfo) (id Inode, ok bool) { return id, false }
