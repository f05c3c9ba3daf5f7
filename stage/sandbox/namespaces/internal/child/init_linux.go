package child

import (
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// started reports whether this process was started under a name of this package,
// which is reserved: it never goes on as the program that it is executed from.
// That would begin anew what the builder does, start helpers again, and so on
// without end, as soon as a descriptor cannot be examined.
func started(name string, fds ...int) bool {
	if len(os.Args) != 1 || os.Args[0] != name {
		return false
	}
	want := uint32(unix.S_IFIFO)
	if name == WatchName {
		want = unix.S_IFSOCK
	}
	for _, fd := range fds {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			refuse(name, fd, err)
		}
		if st.Mode&unix.S_IFMT != want {
			refuse(name, fd, unix.EINVAL)
		}
	}
	return true
}

func refuse(name string, fd int, err error) {
	_, _ = unix.Write(2, []byte(name+": is started by a builder alone, with descriptors of its own; descriptor "+string(rune('0'+fd))+": "+err.Error()+"\n"))
	unix.Exit(125)
}

func init() {
	if started(Name, ConfigFD, ReportFD) {
		main()
	}
}

func isPipe(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// main never returns. Everything below happens on this thread, which init
// functions share with execve: credentials, filters and namespaces are a thread's.
func main() {
	runtime.LockOSThread()
	var created []Created
	if f := run(&created); f != nil {
		_ = Send(fdFile(ReportFD), &Report{Created: created, Failure: f}) // the parent may be gone
		unix.Exit(125)
	}
	unix.Exit(0)
}

// run goes the whole way. It returns nil only for a dry run. Into created go
// the mount points that have been made, also when it fails.
func run(created *[]Created) *Failure {
	if f := armDeathSignal(); f != nil {
		return f
	}
	// Descriptors that the builder itself inherited are not the step's to see.
	unix.CloseOnExec(ConfigFD)
	unix.CloseOnExec(ReportFD)
	var c Config
	if err := Receive(fdFile(ConfigFD), &c); err != nil {
		return fail(StageSetup, "read the configuration", "", err)
	}
	if err := closeFrom(FirstSocketFD + c.Inherited); err != nil {
		return fail(StageSetup, "close inherited descriptors", "", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fail(StageSetup, "become unreadable for others", "", err)
	}
	b := newBuilder(&c)
	if c.Ahead {
		if f := b.mountAhead(); f != nil {
			return f
		}
	}
	if len(c.Remove) > 0 {
		if err := RemoveCreated(c.Upper, c.Remove); err != nil {
			return fail(StageSetup, "remove mount points", c.Upper, err)
		}
		if err := Send(fdFile(ReportFD), &Report{}); err != nil {
			return fail(StageSetup, "report", "", err)
		}
		return nil
	}
	if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
		return fail(StageSetup, "set the host name", c.Hostname, err)
	}
	var f *Failure
	if *created, f = b.build(); f != nil {
		return f
	}
	if f := openStdio(&c); f != nil {
		return f
	}
	unix.Umask(0o022)
	if err := unix.Chdir(c.Dir); err != nil {
		return fail(StageDir, "enter", c.Dir, err)
	}
	defaultSignals()
	if err := Send(fdFile(ReportFD), &Report{Created: *created}); err != nil {
		return fail(StageSetup, "report", "", err)
	}
	if f := awaitGroups(&c); f != nil {
		return f
	}
	if f := raiseRlimits(&c); f != nil {
		return f
	}
	if f := becomeUser(&c); f != nil {
		return f
	}
	if f := armDeathSignal(); f != nil {
		return f
	}
	if parentGone() {
		unix.Exit(125)
	}
	if c.DryRun {
		return nil
	}
	if f := lowerRlimits(&c); f != nil {
		return f
	}
	return execute(&c)
}

// armDeathSignal has the kernel kill this process when the builder's thread
// that started it ends. Every change of user clears it.
func armDeathSignal() *Failure {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fail(StageSetup, "arm the parent-death signal", "", err)
	}
	return nil
}

// parentGone covers the time before armDeathSignal. getppid would not: it is 0
// in a new pid namespace, always.
func parentGone() bool {
	p := []unix.PollFd{{Fd: ConfigFD}}
	for {
		n, err := unix.Poll(p, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	}
}

// closeFrom has execve close all descriptors from fd upwards. Until then nobody but this process, which nobody may look into, can
// reach them. Kernels before Linux 5.11 cannot do that at once.
func closeFrom(fd int) error {
	err := unix.CloseRange(uint(fd), math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == unix.ENOSYS || err == unix.EINVAL || err == unix.EPERM { // a filter of an old container manager says EPERM
		return closeEach(fd)
	}
	return err
}

// closeEach closes all descriptors from fd upwards but those of the Go
// runtime's poller, which an init function of the program may have started and
// which would take the process down. They lead nowhere and end with execve.
func closeEach(fd int) error {
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	open, err := listNumbers(dir)
	if err != nil {
		return err
	}
	var buf [64]byte
	for _, n := range open {
		if n < fd || n == dir {
			continue
		}
		length, err := unix.Readlinkat(dir, name(n), buf[:])
		if err != nil {
			return err
		}
		if to := string(buf[:length]); to == "anon_inode:[eventpoll]" || to == "anon_inode:[eventfd]" {
			unix.CloseOnExec(n)
			continue
		}
		_ = unix.Close(n) // a descriptor whose close fails is closed all the same
	}
	return nil
}

// listNumbers returns the names in dir that are numbers, as /proc/self/fd has them.
func listNumbers(dir int) ([]int, error) {
	var out []int
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return out, nil
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if v, ok := atoi(name); ok {
				out = append(out, v)
			}
		}
	}
}

func atoi(s string) (int, bool) {
	v := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' || v > 1<<30 {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, s != ""
}
