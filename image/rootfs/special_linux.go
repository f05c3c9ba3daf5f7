package rootfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// special makes a pipe or a device node.
func (w *writer) special(p string, n *tree.Node) error {
	dir, name := filepath.Split(p)
	at, err := w.root.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer at.Close()
	mode, dev := uint32(unix.S_IFIFO), 0
	if n.Kind() != tree.Fifo {
		major, minor := n.Device()
		mode, dev = unix.S_IFCHR, int(unix.Mkdev(major, minor))
		if n.Kind() == tree.BlockDevice {
			mode = unix.S_IFBLK
		}
	}
	err = unix.Mknodat(int(at.Fd()), name, mode|0o600, dev)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("a device node needs root; write a tar instead: %w", err)
	}
	return err
}

// linkTime sets the time of a symbolic link, which os.Root can only follow.
func (w *writer) linkTime(p string, mtime int64) error {
	dir, name := filepath.Split(p)
	at, err := w.root.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer at.Close()
	t := unix.NsecToTimespec(mtime)
	return unix.UtimesNanoAt(int(at.Fd()), name, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}

// attributes sets the extended attributes of what is no link. It is not opened for reading,
// which does things to a device.
func (w *writer) attributes(p string, m tree.Meta) error {
	if len(m.Xattrs) == 0 {
		return nil
	}
	f, err := w.root.OpenFile(p, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, x := range m.Xattrs {
		if !w.owner && !strings.HasPrefix(x.Name, "user.") {
			continue
		}
		// setxattr(2) follows this link to the file itself, and fsetxattr(2) takes no O_PATH.
		if err := unix.Setxattr("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), x.Name, x.Value, 0); err != nil {
			return fmt.Errorf("attribute %s: %w", x.Name, err)
		}
	}
	return nil
}
