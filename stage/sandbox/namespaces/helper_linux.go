package namespaces

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// origin is all that decides how a helper is started. What else a Spec asks for is
// in the configuration, which the helper reads when it runs.
type origin struct {
	machine machine
	id      identity
	network bool // a network of its own
	noMemfd bool
}

// same reports whether a helper that was started for one origin will do for the other.
func (o *origin) same(other *origin) bool {
	return o.network == other.network && o.noMemfd == other.noMemfd && o.id.same(&other.id)
}

// helper is this program, executed again in new namespaces, which waits for its
// configuration and then becomes the command of a step.
type helper struct {
	origin origin

	proc    *os.Process
	config  *os.File    // what is written here is read as the configuration
	report  *os.File    // what it says
	streams [3]*os.File // our ends of its three streams
	mounts  int         // a descriptor that tells whether the mounts of this process have changed since, or -1
	gone    chan struct{}
}

// startHelper starts one, with the sockets as further descriptors. The kernel sends
// the parent-death signal when the thread that started a process ends, so the thread
// is not given to others before the process is gone.
func startHelper(o *origin, sockets []*os.File) (*helper, error) {
	h := &helper{origin: *o, mounts: -1, gone: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := h.start(sockets)
		started <- err
		if err == nil {
			<-h.gone
		}
	}()
	if err := <-started; err != nil {
		h.close()
		return nil, err
	}
	if o.id.viaHelpers {
		if err := o.id.writeMaps(h.proc.Pid); err != nil {
			h.end()
			return nil, err
		}
	}
	return h, nil
}

func (h *helper) start(sockets []*os.File) error {
	// Before the start, so that no change is missed. Without it a helper that was
	// started ahead is not used.
	h.mounts, _ = unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	theirs := make([]*os.File, child.FirstSocketFD)
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	for fd := range theirs {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("sandbox: %w", err)
		}
		switch fd {
		case 0:
			theirs[fd], h.streams[fd] = r, w
		case 1, 2:
			theirs[fd], h.streams[fd] = w, r
		case child.ConfigFD:
			theirs[fd], h.config = r, w
		case child.ReportFD:
			theirs[fd], h.report = w, r
		}
	}
	if h.origin.id.idmapped {
		if err := h.handOver(); err != nil {
			return err
		}
	}
	proc, err := h.origin.execute(append(theirs[:len(theirs):len(theirs)], sockets...))
	if err != nil {
		return explainStart(h.origin.machine, &h.origin.id, err)
	}
	h.proc = proc
	return nil
}

// handOver gives the three streams to id 0 inside, which else could not open them by name
// (/dev/stdout), and not give them to others.
func (h *helper) handOver() error {
	uid, _ := outside(h.origin.id.ids.UIDs, 0)
	gid, _ := outside(h.origin.id.ids.GIDs, 0)
	for _, f := range h.streams {
		if err := f.Chown(uid, gid); err != nil { // both ends are one inode
			return fmt.Errorf("sandbox: hand over a stream: %w", err)
		}
	}
	return nil
}

// execute re-executes this program in new namespaces.
func (o *origin) execute(files []*os.File) (*os.Process, error) {
	path := exePath
	if !o.noMemfd {
		// Without memory files, or where the sysctl vm.memfd_noexec forbids to
		// execute them, the program itself has to do.
		if sealed, err := sealedSelf(); err == nil {
			path = sealed
		}
	}
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true, // the builder's terminal is not the step's
	}
	if o.network {
		attr.Cloneflags |= syscall.CLONE_NEWNET
	}
	o.id.apply(attr, o.machine)
	pidfd := -1
	attr.PidFD = &pidfd
	args := []string{child.Name}
	procAttr := &os.ProcAttr{Dir: "/", Env: childEnv(), Files: files, Sys: attr}
	proc, err := os.StartProcess(path, args, procAttr)
	if path != exePath && errors.Is(err, unix.EACCES) { // a security module forbids to execute memory
		proc, err = os.StartProcess(exePath, args, procAttr)
	}
	if err != nil {
		return nil, err
	}
	if pidfd >= 0 {
		watch(pidfd)
		_ = unix.Close(pidfd)
	}
	return proc, nil
}

// stale reports whether a helper that was started ahead is of no use: it has ended, or
// something was mounted or unmounted meanwhile, which its namespace need not show.
func (h *helper) stale() bool {
	if h.mounts < 0 {
		return true
	}
	conn, err := h.report.SyscallConn()
	if err != nil {
		return true
	}
	stale := true
	err = conn.Control(func(report uintptr) {
		set := []unix.PollFd{{Fd: int32(h.mounts), Events: unix.POLLPRI}, {Fd: int32(report), Events: unix.POLLIN}}
		n, err := unix.Poll(set, 0)
		stale = n != 0 || err != nil // a signal that came meanwhile included
	})
	return stale || err != nil
}

// wait waits until the process has ended.
func (h *helper) wait() (*os.ProcessState, error) {
	defer close(h.gone)
	return h.proc.Wait()
}

// end ends a helper that is not used.
func (h *helper) end() {
	_ = h.proc.Kill() // an error means that it has ended
	_, _ = h.wait()
	h.close()
}

// close closes what is left open of our ends.
func (h *helper) close() {
	for _, f := range append(h.streams[:], h.config, h.report) {
		if f != nil {
			_ = f.Close() // streams that were used are closed by now
		}
	}
	if h.mounts >= 0 {
		_ = unix.Close(h.mounts)
	}
}

// originOf says how the helper for a Spec is started.
func originOf(m machine, id *identity, s *sandbox.Spec) origin {
	return origin{machine: m, id: *id, network: s.Network == sandbox.NetworkNone, noMemfd: s.Features&sandbox.FeatureMemfd != 0}
}
