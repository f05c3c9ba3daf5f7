package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path below a root, in bytes: PATH_MAX without its final NUL. Longer ones exist on a disk (made through relative
// steps) but neither the kernel's calls nor other image tools can name them.
const maxPath = unix.PathMax - 1

// direntBuf is the buffer of one getdents64 call; 32 kB hold about 1,000 names.
const direntBuf = 32 << 10

// A root is an open directory below which paths are resolved without following any link and without leaving it.
type root struct {
	fd   int
	walk bool // resolve by one openat a component: kernels before 5.6, and seccomp filters that know no openat2
}

func openRoot(dir string) (root, error) {
	fd, err := openat(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.EACCES) { // our own directory without read permission; a path descriptor is enough to begin with
		fd, err = openat(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return root{fd: -1}, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return root{fd: fd}, nil
}

func (r root) close() { unix.Close(r.fd) }

// open opens path below the root. The path "" is the root itself. A link anywhere in the path is ELOOP or ENOTDIR.
func (r root) open(path string, flags int, mode uint32) (int, error) {
	if path == "" {
		path = "."
	}
	if !r.walk {
		how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(mode), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
		for range 64 {
			fd, err := unix.Openat2(r.fd, path, &how)
			switch err {
			case unix.EAGAIN, unix.EINTR: // EAGAIN: something was renamed somewhere meanwhile, the kernel could not be sure
				continue
			case unix.ENOSYS, unix.EPERM:
				return r.openWalk(path, flags, mode)
			}
			return fd, err
		}
	}
	return r.openWalk(path, flags, mode)
}

func (r root) openWalk(path string, flags int, mode uint32) (int, error) {
	at := r.fd
	for {
		name, rest, more := strings.Cut(path, "/")
		if name == ".." {
			return -1, unix.EXDEV
		}
		fd, err := -1, error(nil)
		if more {
			fd, err = openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		} else {
			fd, err = openat(at, name, flags|unix.O_NOFOLLOW, mode)
		}
		if at != r.fd {
			unix.Close(at)
		}
		if err != nil || !more {
			return fd, err
		}
		at, path = fd, rest
	}
}

// openDir opens a directory below the root for reading its names and for use as the start of other calls.
func (r root) openDir(path string) (int, error) {
	return r.open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

func openat(at int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(at, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// chmodPath changes the mode of what path names below r, which must not be a link; it works without permission to open it.
func (r root) chmodPath(path string, mode uint32) error {
	fd, err := r.open(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(procFD(fd), mode)
}

// procFD names an open file for calls that take no descriptor of its kind.
func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// readNames returns the names in an open directory in byte order, without . and .., at most limit+1 of them.
func readNames(fd int, limit int) ([]string, error) {
	buf := make([]byte, direntBuf)
	var names []string
	for len(names) <= limit {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	slices.Sort(names)
	return names, nil
}

// setTimes sets the modification and access time of name, which may be a link, in an open directory. ns counts from the Unix epoch.
func setTimes(at int, name string, ns int64) error {
	ts := unix.Timespec{Sec: ns / 1e9, Nsec: ns % 1e9}
	if ts.Nsec < 0 {
		ts.Sec, ts.Nsec = ts.Sec-1, ts.Nsec+1e9
	}
	return unix.UtimesNanoAt(at, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// split cuts a clean relative path into its directory and its last element.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// checkPath refuses a path that the kernel could not name or that does not stay below its root.
func checkPath(path string) error {
	if len(path) > maxPath {
		return &LimitError{What: "bytes of path", Path: path[:64] + "...", Max: maxPath}
	}
	if path == "" {
		return nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || strings.IndexByte(name, 0) >= 0 {
			return fmt.Errorf("snapshot: %q is no clean path below the root", path)
		}
		if len(name) > unix.NAME_MAX {
			return &LimitError{What: "bytes of name", Path: path, Max: unix.NAME_MAX}
		}
	}
	return nil
}

// onDisk names the file that an error is about.
func onDisk(op, path string, err error) error {
	var limit *LimitError
	if err == nil || errors.As(err, &limit) {
		return err
	}
	if path == "" {
		path = "."
	}
	return fmt.Errorf("snapshot: %w", &os.PathError{Op: op, Path: path, Err: err})
}
