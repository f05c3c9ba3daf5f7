package snapshot

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

const capability = "security.capability"

// isPortable reports whether an attribute is written to and read from a disk: those that mean the same on every machine and that a step can set.
func isPortable(name string) bool {
	return name == capability || strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

// canWrite reports whether this user can set a portable attribute outside of any user namespace.
func (h host) canWrite(name string) bool {
	return isPortable(name) && (h.trusted || name != capability)
}

func (h host) setXattrs(fd int, list []tree.Xattr) error {
	for _, x := range list {
		if !h.canWrite(x.Name) {
			continue
		}
		if err := unix.Fsetxattr(fd, x.Name, x.Value, 0); err != nil {
			return err
		}
	}
	return nil
}

// readXattrs returns the portable attributes of an open file, and whether it is an opaque directory of an overlay.
func (h host) readXattrs(fd int) (list []tree.Xattr, opaque bool, err error) {
	size, err := unix.Flistxattr(fd, nil)
	if err == unix.ENOTSUP {
		return nil, false, nil
	}
	if err != nil || size == 0 {
		return nil, false, err
	}
	names := make([]byte, size)
	if size, err = unix.Flistxattr(fd, names); err != nil {
		return nil, false, err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:size]), "\x00"), "\x00") {
		if name != h.opaque() && !isPortable(name) {
			continue
		}
		value, err := getXattr(fd, name)
		if err == unix.ENODATA {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		switch name {
		case h.opaque():
			opaque = string(value) == "y"
		case capability:
			list = append(list, tree.Xattr{Name: name, Value: plainCapability(value)})
		default:
			list = append(list, tree.Xattr{Name: name, Value: value})
		}
	}
	slices.SortFunc(list, func(a, b tree.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return list, opaque, nil
}

func getXattr(fd int, name string) ([]byte, error) {
	buf := make([]byte, 128)
	for {
		n, err := unix.Fgetxattr(fd, name, buf)
		if err == nil {
			return bytes.Clone(buf[:n]), nil
		}
		if err != unix.ERANGE || len(buf) >= 64<<10 { // XATTR_SIZE_MAX
			return nil, err
		}
		buf = make([]byte, 64<<10)
	}
}

// plainCapability turns a capability of revision 3, which the kernel makes when one is set inside a user namespace and which names that
// namespace's root, into revision 2, which is what the step meant and what images carry. See capabilities(7) and linux/capability.h.
func plainCapability(v []byte) []byte {
	const revisionMask, revision2, revision3 = 0xff000000, 0x02000000, 0x03000000
	if len(v) != 24 {
		return v
	}
	magic := binary.LittleEndian.Uint32(v)
	if magic&revisionMask != revision3 {
		return v
	}
	return append(binary.LittleEndian.AppendUint32(nil, magic&^revisionMask|revision2), v[4:20]...)
}
