package child

import (
	"os"

	"golang.org/x/sys/unix"
)

// WatchName is Args[0] of a watcher.
const WatchName = "stagewright-sandbox-watch"

// WatchFD is the socket on which a watcher receives pidfds.
const WatchFD = 3

// A watcher is the second means to have nothing outlive a builder that is
// killed. The first, the parent-death signal, is the kernel's, but it is lost
// when process 1 of a step changes its user or executes a set-user-ID program.
// One watcher serves all steps of a builder. It holds a pidfd of each, reads
// the end of its socket when the builder is gone, however that went, and then
// kills what is left.

func init() {
	if len(os.Args) == 1 && os.Args[0] == WatchName && isSocket(WatchFD) {
		watch()
		unix.Exit(0)
	}
}

func isSocket(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

func watch() {
	_ = closeFrom(WatchFD + 1) // descriptors that the builder inherited; the rest of the work needs no success
	set := []unix.PollFd{{Fd: WatchFD, Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(set, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			break
		}
		// A pidfd is readable once its process has ended.
		kept := set[:1]
		for _, p := range set[1:] {
			if p.Revents != 0 {
				_ = unix.Close(int(p.Fd))
			} else {
				kept = append(kept, p)
			}
		}
		first := set[0].Revents
		set = kept
		if first == 0 {
			continue
		}
		fds, ok := receivePidfds()
		if !ok {
			break
		}
		for _, fd := range fds {
			set = append(set, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	for _, p := range set[1:] {
		_ = unix.PidfdSendSignal(int(p.Fd), unix.SIGKILL, nil, 0) // it may have ended by itself
	}
}

// receivePidfds returns what came with the next message, and false at the end.
func receivePidfds() ([]int, bool) {
	var body [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(WatchFD, body[:], oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil, false
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return nil, true
		}
		var fds []int
		for i := range messages {
			if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
				fds = append(fds, got...)
			}
		}
		return fds, true
	}
}
