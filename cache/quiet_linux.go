package cache

import "golang.org/x/sys/unix"

// quietFlags open a file so that reading it does not change its time of access. Only the owner may.
const quietFlags = unix.O_NOATIME | unix.O_NOFOLLOW | unix.O_NONBLOCK
