package child

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is the kernel's own limit on links in one path, path_resolution(7).
const maxLinks = 40

// place is a name in the root that something is mounted on, by descriptor.
type place struct {
	parent int    // O_PATH descriptor of the directory
	name   string // in parent
	fd     int    // O_PATH descriptor of what was there before the mount
}

// top opens what the place shows now, which after a mount is the mount's root:
// a lookup by name crosses into it, p.fd stays below.
func (p *place) top() (int, error) {
	return unix.Openat(p.parent, p.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func (p *place) close() {
	_ = unix.Close(p.fd)
	_ = unix.Close(p.parent)
}

// walker finds and makes mount points in a root that nobody else can reach.
type walker struct {
	root     int    // O_PATH descriptor
	dev      uint64 // of the root's directories
	upper    int    // O_PATH descriptor of the upper directory, or -1
	procDev  uint64 // of the sandbox's /proc, not to be mounted into
	hasProc  bool
	created  []Created
	noFollow bool // refuse links instead of following them
}

// walk is the state of one lookup: the directories from the root down to the
// current one, so that ".." never leaves.
type walk struct {
	fds   []int
	names []string
	todo  []string
	links int
}

// find returns the place that path names inside the root, where dir says what
// must be there, and makes what is missing.
func (w *walker) find(path string, dir bool) (*place, error) {
	first, err := unix.FcntlInt(uintptr(w.root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &walk{fds: []int{first}, todo: elements(path)}
	defer func() {
		for _, fd := range s.fds {
			_ = unix.Close(fd)
		}
	}()
	for len(s.todo) > 0 {
		name := s.todo[0]
		s.todo = s.todo[1:]
		if name == ".." {
			s.up()
			continue
		}
		fd, err := w.step(s, name, dir)
		if err != nil {
			return nil, err
		}
		s.fds, s.names = append(s.fds, fd), append(s.names, name)
		target, err := w.link(fd)
		if err != nil {
			return nil, err
		}
		if target == "" {
			continue
		}
		if s.links++; s.links > maxLinks || w.noFollow {
			return nil, unix.ELOOP
		}
		s.up()
		if strings.HasPrefix(target, "/") {
			for len(s.names) > 0 {
				s.up()
			}
		}
		s.todo = append(elements(target), s.todo...)
	}
	return w.finish(s, dir)
}

func elements(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(e string) bool { return e == "" || e == "." })
}

func (s *walk) dir() int { return s.fds[len(s.fds)-1] }

func (s *walk) up() {
	if n := len(s.names); n > 0 {
		_ = unix.Close(s.fds[n])
		s.fds, s.names = s.fds[:n], s.names[:n-1]
	}
}

// step opens name in the current directory, and makes it first if need be.
func (w *walker) step(s *walk, name string, dir bool) (int, error) {
	open := func() (int, error) {
		return unix.Openat(s.dir(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	fd, err := open()
	if err != unix.ENOENT {
		return fd, err
	}
	asDir := dir || len(s.todo) > 0
	note, err := w.note(s, name, asDir)
	if err != nil {
		return -1, err
	}
	if asDir {
		err = unix.Mkdirat(s.dir(), name, 0o755)
	} else {
		fd, err = unix.Openat(s.dir(), name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err == nil {
			err = unix.Close(fd)
		}
	}
	if err != nil {
		return -1, err
	}
	if note != nil {
		w.created = append(w.created, *note)
	}
	return open()
}

// note describes what is about to be made, or returns nil when it will not be
// in the root's own filesystem and so leaves no trace in the upper directory.
func (w *walker) note(s *walk, name string, dir bool) (*Created, error) {
	var st unix.Stat_t
	if err := unix.Fstat(s.dir(), &st); err != nil {
		return nil, err
	}
	if uint64(st.Dev) != w.dev || w.upper < 0 {
		return nil, nil
	}
	path := strings.Join(append(slices.Clone(s.names), name), "/")
	c := &Created{Path: path, Dir: dir}
	if err := unix.Fstatat(w.upper, path, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
		c.Whiteout = st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
	}
	return c, nil
}

// link returns the target of the symbolic link fd, and "" for anything else.
func (w *walker) link(fd int) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	if w.hasProc && uint64(st.Dev) == w.procDev {
		return "", unix.EPERM
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", nil
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	if n == 0 || n == len(buf) {
		return "", unix.ENAMETOOLONG
	}
	return string(buf[:n]), nil
}

// finish checks the kind of what was found and hands it over.
func (w *walker) finish(s *walk, dir bool) (*place, error) {
	n := len(s.names)
	if n == 0 {
		return nil, unix.EBUSY // links led to the root itself
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.fds[n], &st); err != nil {
		return nil, err
	}
	switch isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR; {
	case dir && !isDir:
		return nil, unix.ENOTDIR
	case !dir && isDir:
		return nil, unix.EISDIR
	}
	p := &place{parent: s.fds[n-1], name: s.names[n-1], fd: s.fds[n]}
	s.fds = s.fds[:n-1]
	return p, nil
}
