package child

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// builder makes the root. Its working directory is /proc/self/fd, so that the
// decimal of a descriptor is a path: short enough for 500 layers in the one
// page that mount(2) takes, free of characters to escape, and never resolved twice.
type builder struct {
	c           *Config
	lowers      []int
	upper, work int
	sources     []int // of c.Mounts, -1 for those without
	nodes       []int // of deviceNodes, -1 for those that the host lacks
	sys         int   // the host's /sys, for when there can be no new one
	ahead       bool  // /proc, /dev and /sys are mounted in the scratch, and are moved
	emulators   []int // of c.Emulators
	scratch     int   // a private tmpfs for everything that is not the image's
	root        int
	w           walker
}

const openPath = unix.O_PATH | unix.O_CLOEXEC

func name(fd int) string { return strconv.Itoa(fd) }

func newBuilder(c *Config) *builder { return &builder{c: c, upper: -1, work: -1, sys: -1} }

// build mounts everything that the process is to see and enters it.
func (b *builder) build() ([]Created, *Failure) {
	steps := []func() *Failure{
		b.begin, b.openHost, b.mountScratch, b.mountOverlay, b.mountProc, b.registerEmulators, b.mountDev, b.mountSys, b.mountAll, b.pivot,
	}
	if b.ahead {
		steps = []func() *Failure{b.openHost, b.mountOverlay, b.moveSystem, b.mountAll, b.pivot}
	}
	for _, step := range steps {
		if f := step(); f != nil {
			return b.w.created, f
		}
	}
	return b.w.created, nil
}

// begin leaves the host's mounts, and goes where descriptors are paths.
func (b *builder) begin() *Failure {
	if f := separate(&b.c.System); f != nil {
		return f
	}
	unix.Umask(0)
	fds, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Fchdir(fds)
	}
	if err != nil {
		return fail(StageSetup, "enter", "/proc/self/fd", err)
	}
	return nil
}

func openDir(path string) (int, error) { return unix.Open(path, openPath|unix.O_DIRECTORY, 0) }

// openHost opens all that is needed of the host before anything hides it.
func (b *builder) openHost() *Failure {
	if b.c.Given {
		return b.takeGiven()
	}
	if f := b.openLowers(); f != nil {
		return f
	}
	var err error
	if b.c.Upper != "" {
		if b.upper, err = openDir(b.c.Upper); err != nil {
			return fail(StageRoot, "open the upper directory", b.c.Upper, err)
		}
		if b.work, err = openDir(b.c.Work); err != nil {
			return fail(StageRoot, "open the work directory", b.c.Work, err)
		}
	}
	for i, m := range b.c.Mounts {
		fd := -1
		if m.Kind == Bind {
			if fd, err = unix.Open(m.Source, openPath, 0); err != nil {
				return mountFailure(i, "open the source", m.Source, err)
			}
		}
		b.sources = append(b.sources, fd)
	}
	if f := b.openEmulators(); f != nil || b.ahead {
		return f
	}
	return b.openSystem()
}

// openLowers opens the lower directories. Those of a long stack are beside each other, and the way there is gone once.
func (b *builder) openLowers() *Failure {
	beside, at := "", -1
	defer func() { _ = unix.Close(at) }()
	for _, l := range b.c.Lowers {
		if up := path.Dir(path.Dir(l)); up != beside {
			_ = unix.Close(at)
			at, _ = openDir(up) // what is wrong with it is wrong with l
			beside = up
		}
		// A name after a slash stays below; one that path.Dir has made simpler has no such prefix.
		name, ok := strings.CutPrefix(l, beside+"/")
		if !ok || at < 0 {
			name = l
		}
		fd, err := unix.Openat(at, name, openPath|unix.O_DIRECTORY, 0)
		if err != nil {
			return fail(StageRoot, "open the lower directory", l, err)
		}
		b.lowers = append(b.lowers, fd)
	}
	return nil
}

// openSystem opens what of the host is shown in /dev and /sys.
func (b *builder) openSystem() (f *Failure) {
	var err error
	if b.c.BindNodes {
		for _, n := range deviceNodes {
			fd, err := unix.Open("/dev/"+n.name, openPath, 0)
			if err != nil {
				fd = -1
			}
			b.nodes = append(b.nodes, fd)
		}
	}
	if b.sys, err = openDir("/sys"); err != nil && !b.c.FreshSysfs {
		return fail(StageSys, "open", "/sys", err)
	}
	return nil
}

// takeGiven is openHost for what the parent has opened.
func (b *builder) takeGiven() *Failure {
	if b.c.UpperFD != 0 {
		b.upper = b.c.UpperFD
	}
	for i := range b.c.Mounts {
		fd := -1
		if b.c.Mounts[i].Kind == Bind {
			fd = b.c.Mounts[i].FD
		}
		b.sources = append(b.sources, fd)
	}
	if b.c.SysFD == 0 {
		var err error
		if b.sys, err = unix.Open("/sys", openPath|unix.O_DIRECTORY, 0); err != nil && !b.c.FreshSysfs {
			return fail(StageSys, "open", "/sys", err)
		}
	}
	return b.openEmulators()
}

func (b *builder) openEmulators() *Failure {
	for i := range b.c.Emulators {
		fd, err := unix.Open(b.c.Emulators[i].Path, openPath, 0)
		if err != nil {
			return fail(StageEmulator, "open", b.c.Emulators[i].Path, err)
		}
		b.emulators = append(b.emulators, fd)
	}
	return nil
}

// everywhere is a directory that everybody can reach on every machine that has /proc, and
// that nothing here looks into.
const everywhere = "/proc/fs"

// scratchPlace is a directory to mount the scratch on: one of the recipe, which from now on
// is used by descriptor only, or one of the host's.
func (b *builder) scratchPlace() (at int, path string, err error) {
	switch {
	case b.c.Given, b.c.Ahead:
		at, err = unix.Open(everywhere, openPath|unix.O_DIRECTORY, 0)
		return at, everywhere, err
	case b.upper >= 0:
		return b.upper, b.c.Upper, nil
	}
	return b.lowers[0], b.c.Lowers[0], nil
}

// mountScratch mounts a tmpfs.
func (b *builder) mountScratch() *Failure {
	at, path, err := b.scratchPlace()
	if err != nil {
		return fail(StageRoot, "open", path, err)
	}
	if err := unix.Mount("tmpfs", name(at), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fail(StageRoot, "mount a tmpfs", path, err)
	}
	if b.scratch, err = unix.Open(path, openPath|unix.O_DIRECTORY, 0); err != nil {
		return fail(StageRoot, "open the tmpfs", path, err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(b.scratch, &st); err != nil || int64(st.Type) != unix.TMPFS_MAGIC {
		return fail(StageRoot, "find the tmpfs", path, unix.ESTALE) // the directory was replaced meanwhile
	}
	for _, d := range []string{"root", "empty", "lower", "upper", "work"} {
		if err := unix.Mkdirat(b.scratch, d, 0o755); err != nil {
			return fail(StageRoot, "make a directory in the tmpfs", d, err)
		}
	}
	return nil
}

// mountOverlay mounts the root itself on a directory of the scratch.
func (b *builder) mountOverlay() *Failure {
	sub := func(n string) (int, error) { return unix.Openat(b.scratch, n, openPath|unix.O_DIRECTORY, 0) }
	at, err := sub("root")
	if err != nil {
		return fail(StageRoot, "open", "root", err)
	}
	b.w.upper = b.upper
	if b.c.RootFD != 0 {
		if err := attach(b.c.RootFD, at); err != nil {
			return fail(StageRoot, "attach the root", b.c.Upper, err)
		}
	} else if f := b.makeOverlay(at, sub); f != nil {
		return f
	}
	if b.root, err = sub("root"); err != nil {
		return fail(StageRoot, "open", "root", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(b.root, &st); err != nil {
		return fail(StageRoot, "look at the overlay", "/", err)
	}
	b.w.root, b.w.dev = b.root, uint64(st.Dev)
	if err := b.writable(); err != nil {
		return fail(StageRoot, "mount an overlay that can be written", b.c.Upper, err)
	}
	return nil
}

// writable returns why the overlay is read-only, which the kernel makes it without a word when it cannot make a directory of its own in the
// work directory, on a full disk for instance. A command that does not look at what it could not write would leave a layer without it.
func (b *builder) writable() error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(b.root, &st); err != nil || st.Flags&unix.ST_RDONLY == 0 {
		return err
	}
	if b.work >= 0 {
		if err := unix.Mkdirat(b.work, "work", 0); err != nil && err != unix.EEXIST {
			return err
		}
	}
	return unix.EROFS
}

// attach puts a mount that is attached nowhere on what a descriptor shows.
func attach(mount, at int) error {
	return unix.MoveMount(mount, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// makeOverlay mounts the overlay on a directory.
func (b *builder) makeOverlay(at int, sub func(string) (int, error)) *Failure {
	if len(b.lowers) == 0 {
		fd, err := sub("lower")
		if err != nil {
			return fail(StageRoot, "open", "lower", err)
		}
		b.lowers = []int{fd}
	}
	if b.upper < 0 {
		// A read-only root gets an upper of its own for the missing mount points.
		if f := b.scratchUpper(sub); f != nil {
			return f
		}
	}
	if err := b.overlay(at); err != nil {
		return fail(StageRoot, "mount an overlay", b.c.Upper, err)
	}
	return nil
}

// scratchUpper makes an upper directory in memory. The root's own metadata is
// that of the upper, so it is copied from the topmost lower.
func (b *builder) scratchUpper(sub func(string) (int, error)) *Failure {
	var st unix.Stat_t
	err := unix.Fstat(b.lowers[0], &st)
	if err == nil {
		b.upper, err = sub("upper")
	}
	if err == nil {
		b.work, err = sub("work")
	}
	if err == nil {
		err = unix.Fchmodat(b.scratch, "upper", st.Mode&0o7777, 0)
	}
	if err != nil {
		return fail(StageRoot, "make an upper directory in memory", "", err)
	}
	// An id that this user namespace does not map cannot be given; it shows as
	// the overflow id either way.
	_ = unix.Fchownat(b.scratch, "upper", int(st.Uid), int(st.Gid), 0)
	return nil
}

func (b *builder) overlay(at int) error {
	lowers := make([]string, len(b.lowers))
	for i, fd := range b.lowers {
		lowers[i] = name(fd)
	}
	// The defaults of these differ between distributions, and each of them
	// leaves marks in the upper directory that are not changes of the step.
	opts := fmt.Sprintf("lowerdir=%s,upperdir=%d,workdir=%d,index=off,xino=off", strings.Join(lowers, ":"), b.upper, b.work)
	if b.c.UserXattr {
		opts += ",userxattr" // which by itself turns the other two off
	} else {
		opts += ",redirect_dir=off,metacopy=off"
	}
	if !b.c.NoVolatile {
		// An unknown option is EINVAL, as is much else, so any EINVAL has a second try.
		if err := unix.Mount("overlay", name(at), "overlay", 0, opts+",volatile"); err != unix.EINVAL {
			return err
		}
	}
	return unix.Mount("overlay", name(at), "overlay", 0, opts)
}

// mountAll makes the mounts of the Spec, in order.
func (b *builder) mountAll() *Failure {
	for i := range b.c.Mounts {
		m := &b.c.Mounts[i]
		if f := b.mountOne(i, m); f != nil {
			return f
		}
	}
	return nil
}

func (b *builder) mountOne(i int, m *Mount) *Failure {
	source, dir := b.sources[i], true
	switch m.Kind {
	case Bind:
		var st unix.Stat_t
		if err := unix.Fstat(source, &st); err != nil {
			return mountFailure(i, "look at the source", m.Source, err)
		}
		dir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	case File:
		dir = false
		var err error
		if source, err = b.writeFile(i, m); err != nil {
			return mountFailure(i, "write the file", m.Target, err)
		}
	case Socket:
		dir = false
		var err error
		if source, err = b.bindSocket(i, m); err != nil {
			return mountFailure(i, "make the socket", m.Target, err)
		}
	}
	p, err := b.w.find(m.Target, dir)
	if err != nil {
		return mountFailure(i, "find or make the mount point", m.Target, err)
	}
	defer p.close()
	switch {
	case m.Kind == Tmpfs:
		opts := fmt.Sprintf("mode=%#o,uid=%d,gid=%d", m.Mode, m.UID, m.GID)
		if m.Size > 0 {
			opts += fmt.Sprintf(",size=%d", m.Size)
		}
		err = unix.Mount("tmpfs", name(p.fd), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, opts)
	case m.Kind == Bind && b.c.Given:
		err = attach(source, p.fd)
	default:
		err = unix.Mount(name(source), name(p.fd), "", unix.MS_BIND|unix.MS_REC, "")
	}
	if err != nil {
		return mountFailure(i, "mount", m.Target, err)
	}
	if !m.ReadOnly {
		return nil
	}
	if err := b.readOnlyAt(p, true); err != nil {
		return mountFailure(i, "make read-only", m.Target, err)
	}
	return nil
}

// writeFile puts the content of a File on the scratch.
func (b *builder) writeFile(i int, m *Mount) (int, error) {
	n := "file-" + strconv.Itoa(i)
	fd, err := unix.Openat(b.scratch, n, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, m.Mode&0o7777)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	if _, err := fdFile(fd).Write(m.Data); err != nil {
		return -1, err
	}
	if m.UID != 0 || m.GID != 0 {
		if err := unix.Fchown(fd, int(m.UID), int(m.GID)); err != nil {
			return -1, err
		}
		// A chown takes the setuid and setgid bits away.
		if err := unix.Fchmod(fd, m.Mode&0o7777); err != nil {
			return -1, err
		}
	}
	return unix.Openat(b.scratch, n, openPath|unix.O_NOFOLLOW, 0)
}

// bindSocket gives an inherited socket a name on the scratch. From then on the
// builder, which has it as well, can accept.
func (b *builder) bindSocket(i int, m *Mount) (int, error) {
	n := "socket-" + strconv.Itoa(i)
	defer unix.Close(m.FD)
	if err := unix.Bind(m.FD, &unix.SockaddrUnix{Name: name(b.scratch) + "/" + n}); err != nil {
		return -1, err
	}
	if err := unix.Fchownat(b.scratch, n, int(m.UID), int(m.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, err
	}
	if err := unix.Fchmodat(b.scratch, n, m.Mode&0o7777, 0); err != nil {
		return -1, err
	}
	if err := unix.Listen(m.FD, unix.SOMAXCONN); err != nil {
		return -1, err
	}
	return unix.Openat(b.scratch, n, openPath|unix.O_NOFOLLOW, 0)
}

func mountFailure(i int, op, path string, err error) *Failure {
	f := fail(StageMount, op, path, err)
	f.Index = i
	return f
}

// pivot makes the root the root and lets go of the old one and of every
// descriptor into it, so that no later path, the working directory least of
// all, can lead there through /proc/self/fd.
func (b *builder) pivot() *Failure {
	if b.c.Upper == "" {
		if err := b.readOnly(b.root, false); err != nil {
			return fail(StagePivot, "make the root read-only", "/", err)
		}
	}
	if err := unix.Fchdir(b.root); err != nil {
		return fail(StagePivot, "enter", "/", err)
	}
	// pivot_root(".", ".") puts the old root under the new one, pivot_root(2).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fail(StagePivot, "pivot_root", "/", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fail(StagePivot, "unmount the old root", "/", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fail(StagePivot, "enter", "/", err)
	}
	if err := closeFrom(firstFree); err != nil {
		return fail(StagePivot, "close descriptors", "/", err)
	}
	return nil
}
