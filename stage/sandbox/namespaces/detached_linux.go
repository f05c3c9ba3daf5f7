package namespaces

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// detachedRoot mounts the overlay of a root without attaching it anywhere: the child, to
// which the descriptor is given, does that. It is for a privileged caller's sandbox that has a user
// namespace for the sake of binfmt_misc alone. What such a sandbox mounts itself would read and leave overlay's
// marks as user.overlay.*, as an ordinary user's does, and not as trusted.overlay.*, as the caller's other
// sandboxes do on the same directories. All calls are of Linux 6.7 or older, which a binfmt_misc of one's own needs anyway.
func detachedRoot(r *sandbox.Root, initial, volatile bool) (*os.File, error) {
	full, memory, err := completed(r)
	if err != nil {
		return nil, err
	}
	if memory != nil {
		defer memory.Close() // the overlay keeps what it needs
	}
	return mountOverlay(full, initial, volatile)
}

// completed adds to a root what it lacks, in the directories of a mount in memory; nil when it
// lacks nothing.
func completed(r *sandbox.Root) (*sandbox.Root, *os.File, error) {
	if len(r.Lowers) > 0 && r.Upper != "" {
		return r, nil, nil
	}
	memory, err := scratch(r)
	if err != nil {
		return nil, nil, err
	}
	full, in := *r, fdPath(memory)
	if len(r.Lowers) == 0 {
		full.Lowers = []string{in + "/lower"}
	}
	if r.Upper == "" {
		full.Upper, full.Work = in+"/upper", in+"/work"
	}
	return &full, memory, nil
}

// fdPath is the path of what a descriptor of this process shows.
func fdPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// mountOverlay mounts the overlay of a root that lacks nothing.
func mountOverlay(r *sandbox.Root, initial, volatile bool) (*os.File, error) {
	options := []option{{name: "upperdir", dir: r.Upper}, {name: "workdir", dir: r.Work}, {name: "index", value: "off"}, {name: "xino", value: "off"}}
	for _, l := range r.Lowers {
		options = append(options, option{name: "lowerdir+", dir: l})
	}
	if initial {
		options = append(options, option{name: "redirect_dir", value: "off"}, option{name: "metacopy", value: "off"})
	} else {
		options = append(options, option{name: "userxattr"})
	}
	if volatile {
		options = append(options, option{name: "volatile"})
	}
	return newMount("overlay", 0, options)
}

// scratch makes directories in memory for what a root lacks. A read-only root's own metadata is
// that of its upper directory, so it is copied from the topmost lower.
func scratch(r *sandbox.Root) (_ *os.File, err error) {
	f, err := newMount("tmpfs", 0, []option{{name: "mode", value: "0755"}})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	at := int(f.Fd())
	for _, name := range []string{"lower", "upper", "work"} {
		if err := unix.Mkdirat(at, name, 0o755); err != nil {
			return nil, fmt.Errorf("sandbox: make a directory in memory: %w", err)
		}
	}
	if len(r.Lowers) == 0 {
		return f, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(r.Lowers[0], &st); err != nil {
		return nil, fmt.Errorf("sandbox: look at %s: %w", r.Lowers[0], err)
	}
	// An id that this user namespace does not map cannot be given; it shows as the overflow id either way.
	_ = unix.Fchownat(at, "upper", int(st.Uid), int(st.Gid), 0)
	if err := unix.Fchmodat(at, "upper", st.Mode&0o7777, 0); err != nil {
		return nil, fmt.Errorf("sandbox: make the root like %s: %w", r.Lowers[0], err)
	}
	return f, nil
}

// option is one of a mount: a flag, a value, or a directory.
type option struct{ name, value, dir string }

// newMount makes a mount that is attached nowhere, with attributes of fsmount(2).
func newMount(fs string, attributes int, options []option) (*os.File, error) {
	failed := func(op string, err error) (*os.File, error) {
		return nil, &sandbox.UnavailableError{Cause: "the kernel refuses " + fs + " (" + op + ")", Err: err,
			Fix: "put the cache directory on a local filesystem such as ext4, xfs or tmpfs; or register the emulator for the whole machine"}
	}
	fd, err := unix.Fsopen(fs, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return failed("fsopen", err)
	}
	defer unix.Close(fd)
	for _, o := range options {
		if err := o.set(fd); err != nil {
			return failed(strings.TrimSpace(o.name+" "+o.dir), err)
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return failed("create", err)
	}
	mnt, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return failed("fsmount", err)
	}
	return os.NewFile(uintptr(mnt), fs), nil
}

// set gives the option to a mount in the making. A directory is named by a descriptor, since a value has 255
// bytes at most and characters to escape; the kernel looks it up at once.
func (o option) set(fd int) error {
	value := o.value
	if o.dir != "" {
		dir, err := unix.Open(o.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		value = "/proc/self/fd/" + strconv.Itoa(dir)
	}
	if value == "" {
		return unix.FsconfigSetFlag(fd, o.name)
	}
	return unix.FsconfigSetString(fd, o.name, value)
}
