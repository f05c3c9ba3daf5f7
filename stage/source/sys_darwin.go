package source

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

func openBeneath(path string) (beneath, error) { return openPortable(path) }

// fillSys sets owner, device numbers and identity from [fs.FileInfo].Sys.
func fillSys(e *Entry, sys any) {
	st, ok := sys.(*syscall.Stat_t)
	if !ok {
		return
	}
	e.UID, e.GID = st.Uid, st.Gid
	if e.Mode&fs.ModeDevice != 0 {
		e.Major, e.Minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	}
	e.id = identity{
		known: true,
		ctime: st.Ctimespec.Nano(),
		dev:   uint64(st.Dev),
		inode: st.Ino,
		links: st.Nlink > 1,
	}
}
