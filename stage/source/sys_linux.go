package source

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// fillSys sets owner, device numbers and identity from [fs.FileInfo].Sys. It
// serves the portable root, which tests run on Linux too.
func fillSys(e *Entry, sys any) {
	if st, ok := sys.(*syscall.Stat_t); ok {
		full := unix.Stat_t{Mode: st.Mode, Uid: st.Uid, Gid: st.Gid, Size: st.Size, Rdev: st.Rdev, Dev: st.Dev, Ino: st.Ino, Nlink: st.Nlink,
			Mtim: unix.Timespec(st.Mtim), Ctim: unix.Timespec(st.Ctim)}
		fill(e, &full)
	}
}
