package namespaces

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// exePath is this program as a path that a child can execute.
const exePath = "/proc/self/exe"

// sealedSelf is a copy of this program in memory that nobody can change, open
// for as long as the process lives. A process in a sandbox without a user
// namespace can reach the file that it was started from through its own
// /proc/self/exe, and write to it (CVE-2019-5736); it may have the copy.
var sealedSelf = sync.OnceValues(func() (string, error) {
	// While the copy is open for writing no other goroutine may start a
	// process: that would inherit the descriptor for a moment, and executing
	// a file that somebody can write to is ETXTBSY.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := memfd()
	if err != nil {
		return "", err
	}
	rw := os.NewFile(uintptr(fd), "memfd")
	defer rw.Close()
	exe, err := os.Open(exePath)
	if err != nil {
		return "", err
	}
	defer exe.Close()
	if _, err := io.Copy(rw, exe); err != nil {
		return "", fmt.Errorf("copy %s to memory: %w", exePath, err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(rw.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return "", err
	}
	ro, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", rw.Fd()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(ro)
	high, err := dupHigh(ro)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/proc/self/fd/%d", high), nil
})

func memfd() (int, error) {
	const name = "stagewright-sandbox"
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	// Before Linux 6.3 all are executable and the flag is unknown.
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, flags)
	}
	return fd, err
}

// dupHigh gives the descriptor a number that a starting child does not
// overwrite with those that it inherits.
func dupHigh(fd int) (int, error) {
	var err error
	for _, at := range []int{200, 32} {
		var n int
		if n, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, at); err == nil {
			return n, nil
		}
	}
	return -1, err
}
