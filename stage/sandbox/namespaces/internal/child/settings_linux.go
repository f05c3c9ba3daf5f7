package child

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// separate makes the new namespaces independent of the host's, as far as that does not depend on the step.
func separate(c *System) *Failure {
	// From here on nothing that is mounted is seen outside, and nothing that
	// is mounted outside is seen here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fail(StageSetup, "make all mounts private", "/", err)
	}
	if c.Loopback {
		if err := loopbackUp(); err != nil {
			return fail(StageSetup, "bring up the loopback interface", "lo", err)
		}
	}
	return nil
}

// loopbackUp sets IFF_UP on lo, netdevice(7).
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	// struct ifreq: a name of 16 bytes, then a union of 24 whose short is the flags.
	var req struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	copy(req.name[:], "lo")
	req.flags = unix.IFF_UP | unix.IFF_RUNNING
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}

// openStdio gives the process the sandbox's own /dev/null where it has no
// stream, since a chmod of the builder's would change the host's, and makes
// the pipes belong to its user, so that /dev/stdout can be opened by name.
func openStdio(c *Config) *Failure {
	for fd, null := range c.Null {
		if !null {
			continue
		}
		n, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			return fail(StageDev, "open", "/dev/null", err)
		}
		if err := unix.Dup3(n, fd, 0); err != nil {
			return fail(StageDev, "use", "/dev/null", err)
		}
		_ = unix.Close(n)
	}
	if c.Merge {
		if err := unix.Dup3(1, 2, 0); err != nil {
			return fail(StageSetup, "join", "standard output and standard error", err)
		}
	}
	if c.UID == 0 && c.GID == 0 {
		return nil
	}
	for fd := range 3 {
		if !isPipe(fd) {
			continue
		}
		if err := unix.Fchown(fd, int(c.UID), int(c.GID)); err != nil {
			return fail(StageIdentity, "hand over a stream", "", err)
		}
	}
	return nil
}

// becomeUser gives up every privilege that the process is not to have. The
// order matters: the filter needs CAP_SYS_ADMIN, as no_new_privs would break
// setuid programs, and the change of user needs CAP_SETUID.
func becomeUser(c *Config) *Failure {
	for n := uint(0); n < 64; n++ {
		if c.Caps&(1<<n) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err == unix.EINVAL {
			break // beyond the last capability of this kernel
		} else if err != nil {
			return fail(StageIdentity, "drop a capability", "", err)
		}
	}
	if err := loadFilter(c.Filter); err != nil {
		return fail(StageSeccomp, "load the system call filter", "", err)
	}
	if c.SetGroups {
		if err := setgroups(c.Groups); err != nil {
			return fail(StageIdentity, "set the supplementary groups", "", err)
		}
	}
	if err := setresgid(c.GID); err != nil {
		return fail(StageIdentity, "change the group", "", err)
	}
	if err := setresuid(c.UID); err != nil {
		return fail(StageIdentity, "change the user", "", err)
	}
	caps := c.Caps
	if c.UID != 0 {
		caps = 0
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(caps), Permitted: uint32(caps)},
		{Effective: uint32(caps >> 32), Permitted: uint32(caps >> 32)},
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return fail(StageIdentity, "set the capabilities", "", err)
	}
	return nil
}

// defaultSignals gives every signal its default action. An ignored signal stays
// ignored through execve, and the step must not see how the builder was started
// (nohup, a shell's &). signal.Notify would do for two of them, and costs three
// threads, which execve then waits for.
func defaultSignals() {
	var action [8]uint64 // a struct sigaction of any architecture, with SIG_DFL, no flags, no mask
	for n := uintptr(1); n <= lastSignal; n++ {
		// Two cannot be changed, and are never ignored.
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, n, uintptr(unsafe.Pointer(&action)), 0, signalSetSize, 0, 0)
	}
}

// The kernel's _NSIG, and the size of its sigset_t in bytes.
const lastSignal, signalSetSize = 64, 8

func loadFilter(filter []byte) error {
	if len(filter) == 0 || len(filter)%8 != 0 {
		return unix.EINVAL
	}
	// A []byte has no alignment of its own.
	insns := make([]unix.SockFilter, len(filter)/8)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&insns[0])), len(filter)), filter)
	prog := unix.SockFprog{Len: uint16(len(insns)), Filter: &insns[0]}
	load := func(flags uintptr) error {
		_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
		if errno != 0 {
			return errno
		}
		return nil
	}
	// As runc: without it kernels before 5.16 slow every process under a filter down.
	err := load(unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW)
	if err == unix.EINVAL {
		err = load(0)
	}
	return err
}

// The set*id calls of the standard library act on all threads. This one is
// enough: execve ends the others.

func setgroups(groups []uint32) error {
	var p unsafe.Pointer
	if len(groups) > 0 {
		p = unsafe.Pointer(&groups[0])
	}
	return errnoErr(unix.RawSyscall(sysSetgroups, uintptr(len(groups)), uintptr(p), 0))
}

func setresgid(gid uint32) error {
	return errnoErr(unix.RawSyscall(sysSetresgid, uintptr(gid), uintptr(gid), uintptr(gid)))
}

func setresuid(uid uint32) error {
	return errnoErr(unix.RawSyscall(sysSetresuid, uintptr(uid), uintptr(uid), uintptr(uid)))
}

func errnoErr(_, _ uintptr, errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
