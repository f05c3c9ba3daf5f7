package namespaces

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// checkIdmapped walks the whole way of a Run whose files keep their ids, up to execve.
func (r *Runner) checkIdmapped(ctx context.Context, ids sandbox.IDs) error {
	root := sandbox.Root{Lowers: []string{"/"}, IDs: ids, Idmapped: true}
	spec := &sandbox.Spec{Root: root, Args: []string{"probe"}}
	if err := spec.Validate(); err != nil {
		return err
	}
	if err := mayIdmap(thisMachine(), spec); err != nil { // before anything is made
		return err
	}
	return probeOnce(ctx, r.opts.Dir, &ids)
}

// mayIdmap says why a Spec's files cannot keep their ids, as far as this process decides it.
func mayIdmap(m machine, s *sandbox.Spec) error {
	switch {
	case !s.Root.Idmapped:
		return nil
	case !m.privileged || !m.initial || !m.setgroups:
		return &sandbox.UnavailableError{
			Cause: "only the machine's root can show files with other ids than they have",
			Fix:   "build as root, or leave Root.Idmapped out",
		}
	case s.Features&sandbox.FeatureMountSetattr != 0:
		return cannotMap("without mount_setattr(2)", unix.ENOSYS)
	}
	return nil
}

func cannotMap(what string, err error) error {
	return &sandbox.UnavailableError{Cause: "files cannot be shown with other ids than they have: " + what, Fix: fixIdmapped, Err: err}
}

const fixIdmapped = "use Linux 6.15 or newer and directories on ext4, xfs, btrfs or tmpfs, or leave Root.Idmapped out"

// giveIdmapped makes all that the child needs of the host, as mounts that are attached nowhere.
// The child, whose ids are others than those of the host's files, could not open most of it.
func (p *process) giveIdmapped(volatile bool) error {
	m, err := newIDMapper(&origin{machine: p.machine, id: *p.id, noMemfd: p.spec.Features&sandbox.FeatureMemfd != 0})
	if err != nil {
		return err
	}
	defer m.close()
	c := p.config
	c.Given = true
	root, upper, err := m.root(&p.spec.Root, volatile)
	if err != nil {
		return err
	}
	c.RootFD = p.give(root)
	if upper != nil {
		c.UpperFD = p.give(upper)
	}
	for i, mount := range p.spec.Mounts {
		if mount.Type != sandbox.MountBind {
			continue
		}
		f, err := m.shown(mount.Source, true)
		if _, ok := errors.AsType[*sandbox.UnavailableError](err); err != nil && !ok {
			return &sandbox.MountError{Index: i, Target: mount.Target, Source: mount.Source, Op: "open the source", Err: err}
		}
		if err != nil {
			return err
		}
		c.Mounts[i].FD = p.give(f)
	}
	dev, err := m.devices()
	if err != nil {
		return err
	}
	c.DevFD = p.give(dev)
	if p.spec.Network == sandbox.NetworkNone || p.spec.Features&sandbox.FeatureFreshSysfs != 0 {
		return nil
	}
	// That of a network that is not the user namespace's own can be mounted from here only.
	sys, err := newMount("sysfs", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, nil)
	if err != nil {
		return fixedFor(err)
	}
	c.SysFD = p.give(sys)
	return nil
}

// idMapper shows files with the ids of a user namespace: what belongs to 5 on the disk
// belongs to what 5 is outside of the user namespace, and so to 5 inside (mount_setattr(2)).
type idMapper struct {
	ids sandbox.IDs
	ns  *os.File
}

// newIDMapper makes a user namespace with the ids of a helper. It lives on in the mounts.
func newIDMapper(o *origin) (*idMapper, error) {
	h, err := startHelper(o, nil) // which waits for a configuration
	if err != nil {
		return nil, err
	}
	defer h.end()
	ns, err := os.Open("/proc/" + strconv.Itoa(h.proc.Pid) + "/ns/user")
	if err != nil {
		return nil, cannotMap("open a user namespace", err)
	}
	return &idMapper{ids: o.id.ids, ns: ns}, nil
}

func (m *idMapper) close() { _ = m.ns.Close() }

// shown is what is at a path, as a mount that is attached nowhere and shows other ids; with
// everything mounted below it if recursive.
func (m *idMapper) shown(path string, recursive bool) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err != nil {
		return nil, cannotMap("open_tree "+path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	if err := m.mapIDs(f, recursive); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// mapIDs has a mount that is attached nowhere show other ids.
func (m *idMapper) mapIDs(f *os.File, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(int(f.Fd()), "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(m.ns.Fd())})
	if err != nil {
		return cannotMap(f.Name()+" on "+filesystem(f.Name()), err)
	}
	return nil
}

// root mounts the overlay of directories that show other ids, and opens its upper directory; nil
// when there is none.
func (m *idMapper) root(r *sandbox.Root, volatile bool) (root, upper *os.File, err error) {
	full, memory, err := completed(r)
	if err != nil {
		return nil, nil, fixedFor(err)
	}
	mapped := *full
	var open []*os.File // until the overlay is mounted, which keeps what it needs
	defer func() {
		for _, f := range open {
			_ = f.Close()
		}
	}()
	if memory != nil {
		open = append(open, memory)
		if err := m.mapIDs(memory, false); err != nil {
			return nil, nil, err
		}
	}
	if len(r.Lowers) > 0 {
		mapped.Lowers = nil
		for _, l := range r.Lowers {
			f, err := m.shown(l, false)
			if err != nil {
				return nil, nil, fmt.Errorf("sandbox: %w", err)
			}
			open, mapped.Lowers = append(open, f), append(mapped.Lowers, fdPath(f))
		}
	}
	if r.Upper != "" {
		// The kernel wants both in one mount.
		dir := above(r.Upper, r.Work)
		top, err := m.shown(dir, false)
		if err != nil {
			return nil, nil, fmt.Errorf("sandbox: %w", err)
		}
		open = append(open, top)
		if upper, err = within(top, dir, r.Upper); err != nil {
			return nil, nil, err
		}
		work, err := within(top, dir, r.Work)
		if err != nil {
			_ = upper.Close()
			return nil, nil, err
		}
		open = append(open, work)
		mapped.Upper, mapped.Work = fdPath(upper), fdPath(work)
	}
	if root, err = m.mountOverlay(&mapped, volatile); err != nil && upper != nil {
		_ = upper.Close()
	}
	return root, upper, err
}

// above is the nearest directory that has two others somewhere below.
func above(a, b string) string {
	dir := filepath.Dir(a)
	for !strings.HasPrefix(b, strings.TrimSuffix(dir, "/")+"/") {
		dir = filepath.Dir(dir) // which ends with "/"
	}
	return dir
}

// within opens the directory at a path as one below top, which is dir.
func within(top *os.File, dir, path string) (*os.File, error) {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return nil, cannotMap(path+" is not below "+dir, err)
	}
	fd, err := unix.Openat2(int(top.Fd()), rel, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, cannotMap("open "+rel+" below "+dir+" without links", err)
	}
	f := os.NewFile(uintptr(fd), path)
	var want, got unix.Stat_t
	if err := errors.Join(unix.Stat(path, &want), unix.Fstat(fd, &got)); err != nil || want.Dev != got.Dev || want.Ino != got.Ino {
		_ = f.Close()
		return nil, cannotMap("something is mounted between "+dir+" and "+path, err)
	}
	return f, nil
}

// mountOverlay mounts the overlay as id 0 inside, with the capabilities of the machine's
// root. What overlayfs does with the directories below, it does as who has mounted it: so what it
// makes there belongs to 0 on the disk, and its marks are trusted.overlay.*. Ids for files
// are a thread's; this one is not used again.
func (m *idMapper) mountOverlay(r *sandbox.Root, volatile bool) (root *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever, which ends the thread with the goroutine
		if err = m.become(); err == nil {
			root, err = mountOverlay(r, true, volatile)
		}
	}()
	<-done
	return root, fixedFor(err)
}

// become makes files of this thread belong to id 0 inside.
func (m *idMapper) become() error {
	uid, _ := outside(m.ids.UIDs, 0) // Spec.Validate has seen to both
	gid, _ := outside(m.ids.GIDs, 0)
	_, _ = unix.SetfsgidRetGid(gid) // what it returns is the id before, whatever happens
	_, _ = unix.SetfsuidRetUid(uid)
	nowGID, _ := unix.SetfsgidRetGid(-1)
	nowUID, _ := unix.SetfsuidRetUid(-1)
	if nowUID != uid || nowGID != gid {
		return cannotMap("setfsuid(2) is forbidden", unix.EPERM)
	}
	// Files being somebody else's than root's has taken the capabilities for files away.
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return cannotMap("capget(2)", err)
	}
	for i := range data {
		data[i].Effective = data[i].Permitted
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return cannotMap("capset(2)", err)
	}
	return nil
}

// devices is a mount for /dev with the nodes of every container. A user namespace cannot make
// them, and those of the host would show that they belong to somebody else.
func (m *idMapper) devices() (*os.File, error) {
	uid, _ := outside(m.ids.UIDs, 0)
	gid, _ := outside(m.ids.GIDs, 0)
	dev, err := newMount("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_STRICTATIME, []option{
		{name: "mode", value: "755"}, {name: "size", value: "65536k"},
		{name: "uid", value: strconv.Itoa(uid)}, {name: "gid", value: strconv.Itoa(gid)},
	})
	if err != nil {
		return nil, fixedFor(err)
	}
	if err := child.MakeDeviceNodes(int(dev.Fd()), uid, gid); err != nil {
		_ = dev.Close()
		return nil, cannotMap("make device nodes", err)
	}
	return dev, nil
}

// fixedFor gives an error about a mount the advice for files that keep their ids.
func fixedFor(err error) error {
	if u, ok := errors.AsType[*sandbox.UnavailableError](err); ok {
		u.Fix = fixIdmapped
	}
	return err
}
