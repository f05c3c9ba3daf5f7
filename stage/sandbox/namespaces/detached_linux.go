package namespaces

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// detachedRoot mounts the overlay of a root without attaching it anywhere: the child, to
// which the descriptor is given, does that. It is for a privileged caller's sandbox that has a user
// namespace for the sake of binfmt_misc alone. What such a sandbox mounts itself would read and leave overlay's
// marks as user.overlay.*, as an ordinary user's does, and not as trusted.overlay.*, as the caller's other
// sandboxes do on the same directories. All calls are of Linux 6.7 or older, which a binfmt_misc of one's own needs anyway.
func detachedRoot(r *sandbox.Root, initial, volatile bool) (_ *os.File, err error) {
	d := &detached{}
	defer d.close()
	lowers, upper, work := d.open(r.Lowers), r.Upper, r.Work
	if len(r.Lowers) == 0 || r.Upper == "" {
		scratch, err := d.scratch(r)
		if err != nil {
			return nil, err
		}
		if len(r.Lowers) == 0 {
			lowers = []string{scratch + "/lower"}
		}
		if r.Upper == "" {
			upper, work = scratch+"/upper", scratch+"/work"
		}
	}
	over := d.open([]string{upper, work})
	if d.err != nil {
		return nil, d.err
	}
	options := [][2]string{{"upperdir", over[0]}, {"workdir", over[1]}, {"index", "off"}, {"xino", "off"}}
	for _, l := range lowers {
		options = append(options, [2]string{"lowerdir+", l})
	}
	if initial {
		options = append(options, [2]string{"redirect_dir", "off"}, [2]string{"metacopy", "off"})
	} else {
		options = append(options, [2]string{"userxattr", ""})
	}
	if volatile {
		options = append(options, [2]string{"volatile", ""})
	}
	return newMount("overlay", options)
}

// detached is what is open while a root is put together.
type detached struct {
	files []*os.File
	err   error
}

func (d *detached) close() {
	for _, f := range d.files {
		_ = f.Close()
	}
}

// open opens directories and returns short paths of them, which have no characters to escape.
func (d *detached) open(dirs []string) []string {
	var out []string
	for _, dir := range dirs {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			d.err = errors.Join(d.err, fmt.Errorf("sandbox: open %s: %w", dir, err))
			continue
		}
		d.files = append(d.files, os.NewFile(uintptr(fd), dir))
		out = append(out, "/proc/self/fd/"+strconv.Itoa(fd))
	}
	return out
}

// scratch makes directories in memory for what a root lacks. A read-only root's own metadata is
// that of its upper directory, so it is copied from the topmost lower.
func (d *detached) scratch(r *sandbox.Root) (string, error) {
	f, err := newMount("tmpfs", [][2]string{{"mode", "0755"}})
	if err != nil {
		return "", err
	}
	d.files = append(d.files, f)
	at := int(f.Fd())
	for _, name := range []string{"lower", "upper", "work"} {
		if err := unix.Mkdirat(at, name, 0o755); err != nil {
			return "", fmt.Errorf("sandbox: make a directory in memory: %w", err)
		}
	}
	if len(r.Lowers) > 0 {
		var st unix.Stat_t
		err := unix.Stat(r.Lowers[0], &st)
		if err == nil {
			err = unix.Fchownat(at, "upper", int(st.Uid), int(st.Gid), 0)
		}
		if err == nil {
			err = unix.Fchmodat(at, "upper", st.Mode&0o7777, 0)
		}
		if err != nil {
			return "", fmt.Errorf("sandbox: make the root like %s: %w", r.Lowers[0], err)
		}
	}
	return "/proc/self/fd/" + strconv.Itoa(at), nil
}

// newMount makes a mount that is attached nowhere, with options as name and value.
func newMount(fs string, options [][2]string) (*os.File, error) {
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
		if o[1] == "" {
			err = unix.FsconfigSetFlag(fd, o[0])
		} else {
			err = unix.FsconfigSetString(fd, o[0], o[1])
		}
		if err != nil {
			return failed(o[0], err)
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return failed("create", err)
	}
	mnt, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return failed("fsmount", err)
	}
	return os.NewFile(uintptr(mnt), fs), nil
}
