package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/filemode"
)

// linuxRoot is a directory held open. Paths are resolved by the kernel beneath
// it (openat2, Linux 5.6) or, where that call is missing or filtered,
// component by component.
type linuxRoot struct {
	fd       int
	noOpen2  atomic.Bool // openat2 does not work here
	buffers  sync.Pool   // *[]byte for getdents
	isRemote bool
	noListAt atomic.Bool // listxattrat does not work here
	stamping bool        // files of the device dev: see stampsXattrs
	dev      uint64
}

func openBeneath(path string) (beneath, error) {
	fd, err := open(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	r := &linuxRoot{fd: fd}
	r.buffers.New = func() any { b := make([]byte, 64<<10); return &b }
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err == nil {
		r.isRemote = remoteFilesystem(int64(st.Type))
		r.stamping = stampingFilesystem(int64(st.Type))
	}
	var self unix.Stat_t
	if err := unix.Fstat(fd, &self); err != nil {
		r.stamping = false
	}
	r.dev = uint64(self.Dev)
	return r, nil
}

// remoteFilesystem lists the filesystems whose times another kernel may have
// made, statfs(2).
func remoteFilesystem(magic int64) bool {
	switch uint32(magic) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.FUSE_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CODA_SUPER_MAGIC:
		return true
	}
	return false
}

// stampingFilesystem lists the filesystems that are known to move the ctime of a file whose extended attributes change,
// since long before the oldest kernel that we support (ext4_xattr_set_handle, xfs_attr_set, btrfs_setxattr_trans).
// tmpfs does so since 6.1 only, and what is below an overlay or a network mount nobody knows.
func stampingFilesystem(magic int64) bool {
	switch uint32(magic) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
		return true
	}
	return false
}

// open repeats an open that a signal or a concurrent rename interrupted.
func open(call func() (int, error)) (int, error) {
	for tries := 0; ; tries++ {
		fd, err := call()
		if (err != unix.EINTR && err != unix.EAGAIN) || tries > 1000 {
			return fd, err
		}
	}
}

// openAt opens path beneath the root without following a link.
func (r *linuxRoot) openAt(path string, flags int) (int, error) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	if path == "" {
		path = "."
	}
	if !r.noOpen2.Load() {
		fd, err := open(func() (int, error) {
			return unix.Openat2(r.fd, path, &unix.OpenHow{
				Flags:   uint64(flags),
				Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
			})
		})
		// A filter may answer EPERM for a call that it does not know; a file
		// that may not be opened answers EACCES, or EPERM on the older path too.
		if err != unix.ENOSYS && err != unix.EPERM {
			return fd, err
		}
		r.noOpen2.Store(err == unix.ENOSYS)
	}
	return r.openParts(path, flags)
}

// openParts is openAt for kernels before 5.6.
func (r *linuxRoot) openParts(path string, flags int) (int, error) {
	at := r.fd
	for {
		name, rest, more := strings.Cut(path, "/")
		how := flags
		if more {
			how = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		fd, err := open(func() (int, error) { return unix.Openat(at, name, how, 0) })
		if at != r.fd {
			unix.Close(at)
		}
		if err != nil || !more {
			return fd, err
		}
		at, path = fd, rest
	}
}

func (r *linuxRoot) openDir(path string) (dirHandle, error) {
	fd, err := r.openAt(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return &linuxDir{root: r, fd: fd}, nil
}

func (r *linuxRoot) openFile(path string) (fileHandle, error) {
	fd, err := r.openAt(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	return &linuxFile{fd: fd}, nil
}

func (r *linuxRoot) lstat(path string, e *Entry) error {
	fd, err := r.openAt(path, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	fill(e, &st)
	return nil
}

// clock reads the kernel's coarse clock, the one that file times are made from
// (vfs, current_time); finer file times are never before it.
func (r *linuxRoot) clock() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return 0 // the oldest possible: nothing is trusted
	}
	return ts.Nano()
}

func (r *linuxRoot) remote() bool { return r.isRemote }

// stampsXattrs leaves out what is mounted below the root, which may be anything.
func (r *linuxRoot) stampsXattrs(dev uint64) bool { return r.stamping && dev == r.dev }

func (r *linuxRoot) Close() error { return unix.Close(r.fd) }

type linuxDir struct {
	root *linuxRoot
	fd   int
	read bool // names was called before
}

func (d *linuxDir) Close() error { return unix.Close(d.fd) }

func (d *linuxDir) names() ([]string, error) {
	if d.read {
		if _, err := unix.Seek(d.fd, 0, io.SeekStart); err != nil {
			return nil, err
		}
	}
	d.read = true
	buf := d.root.buffers.Get().(*[]byte)
	defer d.root.buffers.Put(buf)
	var names []string
	for {
		n, err := unix.ReadDirent(d.fd, *buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return names, err
		}
		if len(names) > maxEntries {
			return nil, fmt.Errorf("more than %d names", maxEntries)
		}
		_, _, names = unix.ParseDirent((*buf)[:n], -1, names)
	}
}

func (d *linuxDir) stat(name string, e *Entry) error {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return err
		}
	}
	fill(e, &st)
	if e.Mode&fs.ModeSymlink != 0 {
		return d.readlink(name, e)
	}
	return nil
}

// readlink fills e.Link.
func (d *linuxDir) readlink(name string, e *Entry) error {
	buf := make([]byte, 256)
	for {
		n, err := unix.Readlinkat(d.fd, name, buf)
		switch {
		case err == unix.EINTR:
		case err == unix.EINVAL: // it was a link a moment ago
			return fs.ErrNotExist
		case err != nil:
			return err
		case n < len(buf):
			e.Link = string(buf[:n])
			return nil
		default:
			buf = make([]byte, 2*len(buf)) // at most PATH_MAX is ever returned
		}
	}
}

// xattrs fills e.Xattrs. Before Linux 6.13 there are no calls that take a directory descriptor: then, and for
// values, which few files have, the way goes through /proc, which pins the directory as well.
// Labels of the host's security module are left out: they say nothing about the
// file that holds on another machine.
func (d *linuxDir) xattrs(name string, e *Entry) error {
	list, err := d.listXattrs(name)
	if errors.Is(err, unix.ENOTSUP) || (err == nil && len(list) == 0) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	at := d.procPath(name)
	for attr := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if attr == "security.selinux" {
			continue
		}
		value, err := growing(func(b []byte) (int, error) { return unix.Lgetxattr(at, attr, b) })
		if errors.Is(err, unix.ENODATA) {
			return fs.ErrNotExist // taken away in between: look again
		}
		if err != nil {
			return fmt.Errorf("read extended attribute %s: %w", attr, err)
		}
		e.Xattrs = append(e.Xattrs, Xattr{Name: attr, Value: value})
	}
	slices.SortFunc(e.Xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// listXattrs returns the names of the extended attributes, each with a zero byte behind it.
func (d *linuxDir) listXattrs(name string) ([]byte, error) {
	if !d.root.noListAt.Load() {
		list, err := growing(func(b []byte) (int, error) { return listxattrat(d.fd, name, b) })
		// As for openat2, a filter may answer EPERM.
		if err != unix.ENOSYS && err != unix.EPERM {
			return list, err
		}
		d.root.noListAt.Store(true)
	}
	at := d.procPath(name)
	return growing(func(b []byte) (int, error) { return unix.Llistxattr(at, b) })
}

func (d *linuxDir) procPath(name string) string {
	return "/proc/self/fd/" + strconv.Itoa(d.fd) + "/" + name
}

// listxattrat is listxattrat(2) of Linux 6.13, following no link.
func listxattrat(dir int, name string, b []byte) (int, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return 0, err
	}
	n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(p)), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// growing repeats a call with a larger buffer until its answer fits; xattr(7)
// bounds both kinds at 64 KiB.
func growing(call func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := call(buf)
		if err == unix.ERANGE && size < 256<<10 {
			continue
		}
		if err != nil {
			return nil, err
		}
		return slices.Clip(buf[:n]), nil
	}
}

type linuxFile struct{ fd int }

func (f *linuxFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := unix.Read(f.fd, p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (f *linuxFile) Close() error {
	if f.fd < 0 {
		return fs.ErrClosed
	}
	fd := f.fd
	f.fd = -1
	return unix.Close(fd)
}

func (f *linuxFile) stat(e *Entry) error {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return err
	}
	fill(e, &st)
	return nil
}

// fill sets what a stat tells of e.
func fill(e *Entry, st *unix.Stat_t) {
	e.Mode = fileMode(st.Mode)
	e.UID, e.GID = st.Uid, st.Gid
	e.Mtime = unix.TimespecToNsec(st.Mtim)
	e.Size = 0
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Size = st.Size
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Major, e.Minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	}
	e.id = identity{
		known: true,
		ctime: unix.TimespecToNsec(st.Ctim),
		dev:   uint64(st.Dev),
		inode: st.Ino,
		links: st.Nlink > 1,
	}
}

// fileMode spells st_mode as package fs does.
func fileMode(m uint32) fs.FileMode {
	mode := filemode.FS(m)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	}
	return mode
}
