package child

import (
	"golang.org/x/sys/unix"
)

// The paths that Docker hides from containers, and those that it shows
// read-only. A kernel that lacks one is fine.
var (
	maskedProc = []string{
		"acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi",
	}
	maskedSys    = []string{"firmware", "devices/virtual/powercap"}
	readOnlyProc = []string{"bus", "fs", "irq", "sys", "sysrq-trigger"}
)

// deviceNodes are those that every container has.
var deviceNodes = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

var deviceLinks = []struct{ name, target string }{
	{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
	{"core", "/proc/kcore"}, {"ptmx", "pts/ptmx"},
}

const guarded = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV

// systemPlace finds or makes one of /proc, /dev and /sys. An image that has a
// link there is refused: what would be mounted at its end is not what the
// process looks up.
func (b *builder) systemPlace(n string) (*place, error) {
	if b.c.Ahead {
		return b.scratchPlaceOf(n)
	}
	b.w.noFollow = true
	defer func() { b.w.noFollow = false }()
	return b.w.find("/"+n, true)
}

func (b *builder) mountProc() *Failure {
	p, err := b.systemPlace("proc")
	if err != nil {
		return fail(StageMount, "find or make the mount point", "/proc", err)
	}
	defer p.close()
	if err := unix.Mount("proc", name(p.fd), "proc", guarded, ""); err != nil {
		return fail(StageProc, "mount proc", "/proc", err)
	}
	proc, err := p.top()
	if err != nil {
		return fail(StageProc, "open", "/proc", err)
	}
	defer unix.Close(proc)
	var st unix.Stat_t
	if err := unix.Fstat(proc, &st); err != nil {
		return fail(StageProc, "look at", "/proc", err)
	}
	b.w.procDev, b.w.hasProc = uint64(st.Dev), true
	for _, n := range readOnlyProc {
		if err := b.cover(proc, n, -1); err != nil {
			return fail(StageProc, "make read-only", "/proc/"+n, err)
		}
	}
	return b.mask(proc, "/proc/", maskedProc)
}

// mask hides files behind /dev/null and directories behind an empty one.
func (b *builder) mask(at int, prefix string, names []string) *Failure {
	empty, err := unix.Openat(b.scratch, "empty", openPath|unix.O_DIRECTORY, 0)
	if err != nil {
		return fail(StageSetup, "open", "empty", err)
	}
	defer unix.Close(empty)
	null, err := unix.Open("/dev/null", openPath, 0)
	if err != nil {
		return fail(StageSetup, "open", "/dev/null", err)
	}
	defer unix.Close(null)
	for _, n := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(at, n, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			continue // this kernel does not have it
		}
		source := null
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			source = empty
		}
		if err := b.cover(at, n, source); err != nil {
			return fail(StageSetup, "mask", prefix+n, err)
		}
	}
	return nil
}

// cover binds source, or with -1 the thing itself, read-only over the name n,
// which the kernel made and the image cannot influence. What is not there is left out.
func (b *builder) cover(at int, n string, source int) error {
	fd, err := unix.Openat(at, n, openPath|unix.O_NOFOLLOW, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	p := &place{parent: at, name: n, fd: fd}
	defer unix.Close(fd)
	if source < 0 {
		source = fd
	}
	if err := unix.Mount(name(source), name(fd), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return b.readOnlyAt(p, false)
}

func (b *builder) mountDev() *Failure {
	p, err := b.systemPlace("dev")
	if err != nil {
		return fail(StageMount, "find or make the mount point", "/dev", err)
	}
	defer p.close()
	if b.c.Given {
		err = attach(b.c.DevFD, p.fd)
	} else {
		err = unix.Mount("tmpfs", name(p.fd), "tmpfs", unix.MS_NOSUID|unix.MS_STRICTATIME, "mode=755,size=65536k")
	}
	if err != nil {
		return fail(StageDev, "mount a tmpfs", "/dev", err)
	}
	dev, err := p.top()
	if err != nil {
		return fail(StageDev, "open", "/dev", err)
	}
	defer unix.Close(dev)
	for i, n := range deviceNodes {
		if b.c.Given {
			break // they are there
		}
		if err := b.deviceNode(dev, i); err != nil {
			return fail(StageDev, "make the device", "/dev/"+n.name, err)
		}
	}
	for _, l := range deviceLinks {
		if err := unix.Symlinkat(l.target, dev, l.name); err != nil {
			return fail(StageDev, "make the link", "/dev/"+l.name, err)
		}
	}
	pts := "newinstance,ptmxmode=0666,mode=0620"
	if b.c.TTYGroup {
		pts += ",gid=5"
	}
	for _, m := range []struct {
		name, fs, opts string
		flags          uintptr
	}{
		{"pts", "devpts", pts, unix.MS_NOSUID | unix.MS_NOEXEC},
		{"shm", "tmpfs", "mode=1777,size=65536k", guarded},
		{"mqueue", "mqueue", "", guarded},
	} {
		if err := mountNew(dev, m.name, m.fs, m.flags, m.opts); err != nil {
			if m.fs == "mqueue" && err == unix.ENODEV {
				continue // a kernel without POSIX message queues
			}
			return fail(StageDev, "mount "+m.fs, "/dev/"+m.name, err)
		}
	}
	return nil
}

// MakeDeviceNodes makes the nodes that every container has, of an owner, in a directory that has
// none of them. It takes the privilege of the machine's root.
func MakeDeviceNodes(dir, uid, gid int) error {
	for _, n := range deviceNodes {
		const mode = 0o666
		if err := unix.Mknodat(dir, n.name, unix.S_IFCHR|mode, int(unix.Mkdev(n.major, n.minor))); err != nil {
			return err
		}
		if err := unix.Fchownat(dir, n.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if err := unix.Fchmodat(dir, n.name, mode, 0); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}

// deviceNode makes the node number i, or shows the host's where a user
// namespace forbids to make one.
func (b *builder) deviceNode(dev, i int) error {
	n := deviceNodes[i]
	if !b.c.BindNodes {
		return unix.Mknodat(dev, n.name, unix.S_IFCHR|0o666, int(unix.Mkdev(n.major, n.minor)))
	}
	if b.nodes[i] < 0 {
		if n.name == "tty" {
			return nil // builders without any terminal lack it
		}
		return unix.ENOENT
	}
	fd, err := unix.Openat(dev, n.name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Mount(name(b.nodes[i]), name(fd), "", unix.MS_BIND, "")
}

// mountNew makes the directory n and mounts on it.
func mountNew(dir int, n, fs string, flags uintptr, opts string) error {
	if err := unix.Mkdirat(dir, n, 0o755); err != nil {
		return err
	}
	fd, err := unix.Openat(dir, n, openPath|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Mount(fs, name(fd), fs, flags, opts)
}

func (b *builder) mountSys() *Failure {
	p, err := b.systemPlace("sys")
	if err != nil {
		return fail(StageMount, "find or make the mount point", "/sys", err)
	}
	defer p.close()
	masked, fresh := maskedSys, b.c.FreshSysfs
	given := b.c.SysFD != 0
	if given {
		err = attach(b.c.SysFD, p.fd)
	} else if fresh {
		err = unix.Mount("sysfs", name(p.fd), "sysfs", guarded|unix.MS_RDONLY, "")
		// As with proc, a container that hides parts of its own gives no new one.
		fresh = err != unix.EPERM
	}
	if !fresh && !given {
		// Without a network namespace of its own a user namespace may not mount
		// sysfs, and may bind the host's only with all that is mounted below.
		err = unix.Mount(name(b.sys), name(p.fd), "", unix.MS_BIND|unix.MS_REC, "")
		if err == nil {
			err = b.readOnlyAt(p, true)
		}
		masked = append([]string{"fs/cgroup"}, masked...)
	}
	if err != nil {
		return fail(StageSys, "mount sysfs", "/sys", err)
	}
	sys, err := p.top()
	if err != nil {
		return fail(StageSys, "open", "/sys", err)
	}
	defer unix.Close(sys)
	return b.mask(sys, "/sys/", masked)
}
