package child

import (
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// readOnlyAt makes what is mounted at p read-only.
func (b *builder) readOnlyAt(p *place, recursive bool) error {
	fd, err := p.top()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return b.readOnly(fd, recursive)
}

// readOnly makes the mount that fd is the root of read-only, with all mounts
// below it if recursive.
func (b *builder) readOnly(fd int, recursive bool) error {
	if !b.c.NoMountSetattr {
		flags := uint(unix.AT_EMPTY_PATH)
		if recursive {
			flags |= unix.AT_RECURSIVE
		}
		err := unix.MountSetattr(fd, "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		if err != unix.ENOSYS {
			return err
		}
	}
	if err := remountReadOnly(fd); err != nil || !recursive {
		return err
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(name(fd), buf)
	if err != nil {
		return err
	}
	path := string(buf[:n])
	// Relative to /proc/self/fd, the working directory.
	info, err := readAll("../mountinfo")
	if err != nil {
		return err
	}
	for _, below := range mountsBelow(string(info), path) {
		sub, err := unix.Open(below, openPath|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		err = remountReadOnly(sub)
		_ = unix.Close(sub)
		if err != nil {
			return err
		}
	}
	return nil
}

// remountReadOnly keeps the other flags of the mount: a user namespace may add
// restrictions to a mount that it was given, and take none away.
func remountReadOnly(fd int) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY)
	for from, to := range map[int64]uintptr{
		unix.ST_NOSUID: unix.MS_NOSUID, unix.ST_NODEV: unix.MS_NODEV, unix.ST_NOEXEC: unix.MS_NOEXEC,
		unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_NODIRATIME: unix.MS_NODIRATIME, unix.ST_RELATIME: unix.MS_RELATIME,
	} {
		if int64(st.Flags)&from != 0 {
			flags |= to
		}
	}
	return unix.Mount("", name(fd), "", flags, "")
}

// readAll is os.ReadFile without the runtime's poller.
func readAll(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return io.ReadAll(fdFile(fd))
}

// mountsBelow returns the mount points beneath path in a mountinfo file, proc_pid_mountinfo(5).
func mountsBelow(info, path string) []string {
	var out []string
	for line := range strings.Lines(info) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if at := unescape(fields[4]); strings.HasPrefix(at, path+"/") {
			out = append(out, at)
		}
	}
	return out
}

// unescape turns the \ooo of mountinfo back into bytes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
