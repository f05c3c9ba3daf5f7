package child

import (
	"golang.org/x/sys/unix"
)

// systemNames are what every root has mounted, in the order in which the places are found: an image with a link
// among them is refused whatever is mounted already.
var systemNames = []string{"proc", "dev", "sys"}

// mountAhead mounts what does not depend on the step while the one before still runs, in a scratch that is on a directory
// which no step brings, and then waits for the Config. What is moved into the root later is the same as what
// is mounted there at once.
func (b *builder) mountAhead() *Failure {
	for _, step := range []func() *Failure{b.begin, b.openSystem, b.mountScratch, b.mountProc, b.mountDev, b.mountSys} {
		if f := step(); f != nil {
			return f
		}
	}
	system := b.c.System
	*b.c = Config{}
	if err := Receive(fdFile(ConfigFD), b.c); err != nil {
		return fail(StageSetup, "read the configuration", "", err)
	}
	if b.c.System != system || b.c.Inherited != 0 || b.c.Ahead || b.c.Given || b.c.RootFD != 0 || len(b.c.Emulators) > 0 {
		return fail(StageSetup, "use what was mounted ahead", "", unix.EINVAL)
	}
	b.ahead = true
	return nil
}

// scratchPlaceOf makes the place of one of systemNames in the scratch.
func (b *builder) scratchPlaceOf(n string) (*place, error) {
	if err := unix.Mkdirat(b.scratch, n, 0o755); err != nil {
		return nil, err
	}
	parent, err := unix.FcntlInt(uintptr(b.scratch), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Openat(parent, n, openPath|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		_ = unix.Close(parent)
		return nil, err
	}
	return &place{parent: parent, name: n, fd: fd}, nil
}

// moveSystem moves what was mounted ahead to where the root has it.
func (b *builder) moveSystem() *Failure {
	for _, n := range systemNames {
		p, err := b.systemPlace(n)
		if err != nil {
			return fail(StageMount, "find or make the mount point", "/"+n, err)
		}
		from, err := unix.Openat(b.scratch, n, openPath|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err == nil {
			err = unix.Mount(name(from), name(p.fd), "", unix.MS_MOVE, "")
			_ = unix.Close(from)
		}
		p.close()
		if err != nil {
			return fail(StageMount, "move a mount to", "/"+n, err)
		}
	}
	return nil
}
