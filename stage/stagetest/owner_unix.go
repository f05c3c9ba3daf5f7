//go:build unix

package stagetest

import (
	"io/fs"
	"syscall"
)

// ownerOf is who a file of this machine belongs to.
func ownerOf(info fs.FileInfo) (uid, gid int) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), int(s.Gid)
	}
	return 0, 0
}
