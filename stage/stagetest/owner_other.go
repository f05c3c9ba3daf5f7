//go:build !unix

package stagetest

import "io/fs"

// ownerOf is who a file of this machine belongs to: here nobody has a number.
func ownerOf(fs.FileInfo) (uid, gid int) { return 0, 0 }
