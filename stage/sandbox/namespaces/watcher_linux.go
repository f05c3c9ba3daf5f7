package namespaces

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// watcher starts the process that ends all steps when this process is killed,
// and returns the socket on which it takes their pidfds, or -1 if it could not
// be started: the parent-death signal then has to do alone.
var watcher = sync.OnceValue(func() int {
	// Messages wait in the socket, so nobody waits for the watcher to start.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	theirs := os.NewFile(uintptr(pair[1]), "watcher")
	defer theirs.Close()
	path, err := sealedSelf()
	if err != nil {
		path = exePath
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		_ = unix.Close(pair[0])
		return -1
	}
	defer null.Close()
	p, err := os.StartProcess(path, []string{child.WatchName}, &os.ProcAttr{
		Dir:   "/",
		Env:   childEnv(),
		Files: []*os.File{null, null, null, theirs},
		Sys:   &syscall.SysProcAttr{Setsid: true}, // Ctrl-C is for the builder
	})
	if err != nil {
		_ = unix.Close(pair[0])
		return -1
	}
	go func() { _, _ = p.Wait() }() // only to leave no zombie, should it be killed
	return pair[0]
})

// prepare makes what all steps of this process share, beside whatever the caller does until its first one. The copy
// of a program of 20 MB alone takes 10 ms or more.
func prepare() {
	go func() {
		watcher()
		_, _ = dockerFilter() // an error is the first step's
	}()
}

// watch hands a process over to the watcher.
func watch(pidfd int) {
	if sock := watcher(); sock >= 0 && pidfd >= 0 {
		// MSG_DONTWAIT: a watcher that is stuck is no reason to be stuck as well.
		_ = unix.Sendmsg(sock, []byte{child.WatchProcess}, unix.UnixRights(pidfd), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
}

// watchGroup tells the watcher of a control group that is about to be made, or that is
// removed.
func watchGroup(dir string, made bool) {
	kind := byte(child.ForgetGroup)
	if made {
		kind = child.WatchGroup
	}
	if sock := watcher(); sock >= 0 && len(dir) <= unix.PathMax {
		_ = unix.Sendmsg(sock, append([]byte{kind}, dir...), nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
}

// childEnv holds settings of the Go runtime, for processes that live for two
// milliseconds as Go or do next to nothing. No step sees them.
func childEnv() []string { return []string{"GOMAXPROCS=1", "GOGC=off"} }
