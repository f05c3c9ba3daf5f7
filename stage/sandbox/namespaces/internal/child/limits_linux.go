package child

import "golang.org/x/sys/unix"

// awaitGroups waits until the builder has put this process into the control
// groups of the step, and makes those the root of what the command sees of them.
func awaitGroups(c *Config) *Failure {
	if !c.Await {
		return nil
	}
	var b [1]byte
	if _, err := (fdFile(ConfigFD)).Read(b[:]); err != nil {
		unix.Exit(125) // the builder is gone, or has given up
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fail(StageSetup, "make a cgroup namespace", "", err)
	}
	return nil
}

// raiseRlimits makes room for the limits of the Spec while the privilege to do so
// is there. No limit becomes lower: this program could not go on.
func raiseRlimits(c *Config) *Failure {
	for i := range c.Rlimits {
		r := &c.Rlimits[i]
		var now unix.Rlimit
		if err := unix.Getrlimit(r.Resource, &now); err != nil {
			return fail(StageLimit, "read", r.Name, err)
		}
		if r.Hard <= now.Max {
			continue
		}
		now.Max = r.Hard
		if err := unix.Setrlimit(r.Resource, &now); err != nil {
			return fail(StageLimit, "raise", r.Name, err)
		}
	}
	return nil
}

// lowerRlimits sets the limits of the Spec. After this, a limit of the address space
// may leave no room for anything but execve.
func lowerRlimits(c *Config) *Failure {
	for i := range c.Rlimits {
		r := &c.Rlimits[i]
		if err := unix.Setrlimit(r.Resource, &unix.Rlimit{Cur: r.Soft, Max: r.Hard}); err != nil {
			return fail(StageLimit, "set", r.Name, err)
		}
	}
	return nil
}

// RemoveGroup removes a control group of which all processes are dead. The kernel can
// take a moment to notice that.
func RemoveGroup(dir string) error {
	const longest = 1 << 9 // milliseconds; the sum is a second
	for wait := 1; ; wait *= 2 {
		err := unix.Rmdir(dir)
		switch {
		case err == unix.ENOENT:
			return nil
		case err != unix.EBUSY && err != unix.EINTR || wait > longest:
			return err
		}
		_, _ = unix.Poll(nil, wait) // only to let time pass
	}
}
