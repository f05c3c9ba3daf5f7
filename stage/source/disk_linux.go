package source

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// diskFull returns an error that wraps ENOSPC if the disk of a directory has no room, nil if it has or cannot be asked. Programs that
// could not write do not always say why.
func diskFull(dir string) error {
	const room = 64 << 10 // what a program that failed may have given back
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	if err != nil || st.Blocks == 0 || st.Bfree*uint64(st.Bsize) >= room && (st.Files == 0 || st.Ffree > 0) {
		return nil
	}
	return fmt.Errorf("the disk of %s is full: %w", dir, unix.ENOSPC)
}
