package child

import (
	"golang.org/x/sys/unix"
)

// registerEmulators gives the new user namespace a binfmt_misc of its own (Linux 6.7) and
// registers the interpreters there. From then on the kernel looks nowhere else for programs of this
// namespace, and forgets it all with the last mount; so it stays mounted where it belongs, but
// behind an empty directory: what the step sees of it would be the path of a file of the host.
func (b *builder) registerEmulators() *Failure {
	if len(b.c.Emulators) == 0 {
		return nil
	}
	// Mounted here first: until the kernel's module is loaded, which this does, /proc has no place for it.
	const dir = "binfmt"
	if err := mountNew(b.scratch, dir, "binfmt_misc", guarded, ""); err != nil {
		return fail(StageEmulator, "mount", "binfmt_misc", err)
	}
	own, err := unix.Openat(b.scratch, dir, openPath|unix.O_DIRECTORY, 0)
	if err != nil {
		return fail(StageEmulator, "open", "binfmt_misc", err)
	}
	defer unix.Close(own)
	if f := b.register(own); f != nil {
		return f
	}
	proc, err := unix.Openat(b.root, "proc", openPath|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fail(StageEmulator, "open", "/proc", err)
	}
	defer unix.Close(proc)
	empty, err := unix.Openat(b.scratch, "empty", openPath|unix.O_DIRECTORY, 0)
	if err != nil {
		return fail(StageEmulator, "open", "empty", err)
	}
	defer unix.Close(empty)
	for _, source := range []int{own, empty} {
		if err := b.cover(proc, "sys/fs/binfmt_misc", source); err != nil {
			return fail(StageEmulator, "cover", "/proc/sys/fs/binfmt_misc", err)
		}
	}
	return nil
}

// register registers the emulators with the binfmt_misc mounted at own. The kernel opens an
// interpreter by its path when it is registered, and tells it the path as its name: the one that it is
// given is a link in the working directory.
func (b *builder) register(own int) *Failure {
	fds, err := unix.Open(".", openPath|unix.O_DIRECTORY, 0)
	if err != nil {
		return fail(StageEmulator, "open", ".", err)
	}
	defer unix.Close(fds)
	if err := unix.Fchdir(b.scratch); err != nil {
		return fail(StageEmulator, "enter", "the tmpfs", err)
	}
	for i := range b.c.Emulators {
		e := &b.c.Emulators[i]
		if err := unix.Symlinkat("/proc/self/fd/"+name(b.emulators[i]), b.scratch, e.Name); err != nil {
			return fail(StageEmulator, "make the link", e.Name, err)
		}
		fd, err := unix.Openat(own, "register", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fail(StageEmulator, "open", "binfmt_misc/register", err)
		}
		_, err = unix.Write(fd, []byte(e.Line))
		_ = unix.Close(fd)
		if err != nil {
			return fail(StageEmulator, "register", e.Path, err)
		}
	}
	if err := unix.Fchdir(fds); err != nil {
		return fail(StageEmulator, "enter", "/proc/self/fd", err)
	}
	return nil
}
