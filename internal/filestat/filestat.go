// Package filestat tells of files what stat(2) tells and [io/fs.FileInfo] does not.
package filestat

// An Inode names a file whatever its names are, among those that were looked at at one time.
type Inode struct{ dev, ino uint64 }
