package child

import "golang.org/x/sys/unix"

// WatchName is Args[0] of a watcher.
const WatchName = "stagewright-sandbox-watch"

// WatchFD is the socket on which a watcher receives pidfds.
const WatchFD = 3

// A watcher is the second means to have nothing outlive a builder that is
// killed. The first, the parent-death signal, is the kernel's, but it is lost
// when process 1 of a step changes its user or executes a set-user-ID program.
// One watcher serves all steps of a builder. It holds a pidfd of each, reads
// the end of its socket when the builder is gone, however that went, and then
// kills what is left and removes the control groups that the builder had not removed.

// The first byte of a message to a watcher.
const (
	WatchProcess = iota // comes with a pidfd
	WatchGroup          // then the directory of a control group that is about to be made
	ForgetGroup         // then that of one that is no more
)

func init() {
	if started(WatchName, WatchFD) {
		watch()
		unix.Exit(0)
	}
}

func watch() {
	_ = closeFrom(WatchFD + 1) // descriptors that the builder inherited; the rest of the work needs no success
	set := []unix.PollFd{{Fd: WatchFD, Events: unix.POLLIN}}
	groups := map[string]bool{}
	for {
		if _, err := unix.Poll(set, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			break
		}
		first := set[0].Revents
		set = dropEnded(set)
		if first == 0 {
			continue
		}
		body, fds, ok := receiveWatched()
		if !ok {
			break
		}
		for _, fd := range fds {
			set = append(set, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		switch {
		case len(body) > 1 && body[0] == WatchGroup:
			groups[string(body[1:])] = true
		case len(body) > 1 && body[0] == ForgetGroup:
			delete(groups, string(body[1:]))
		}
	}
	for _, p := range set[1:] {
		_ = unix.PidfdSendSignal(int(p.Fd), unix.SIGKILL, nil, 0) // it may have ended by itself
	}
	if len(groups) == 0 {
		return
	}
	for set = set[1:]; len(set) > 0; set = dropEnded(set) {
		if n, err := unix.Poll(set, 10_000); err != unix.EINTR && n <= 0 {
			break // what cannot be killed keeps its group
		}
	}
	for dir := range groups {
		_ = RemoveGroup(dir) // nobody is left to tell
	}
}

// dropEnded closes the pidfds of processes that have ended: they are readable.
func dropEnded(set []unix.PollFd) []unix.PollFd {
	kept := set[:0]
	for _, p := range set {
		if p.Fd != WatchFD && p.Revents != 0 {
			_ = unix.Close(int(p.Fd))
		} else {
			kept = append(kept, p)
		}
	}
	return kept
}

// receiveWatched returns the next message and the pidfds that came with it, and false
// at the end.
func receiveWatched() (body []byte, fds []int, ok bool) {
	body = make([]byte, 1+unix.PathMax)
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(WatchFD, body, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil, nil, false
		}
		body = body[:n]
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			return body, nil, true
		}
		for i := range messages {
			if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
				fds = append(fds, got...)
			}
		}
		return body, fds, true
	}
}
