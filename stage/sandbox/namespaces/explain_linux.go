package namespaces

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// Fixes that several causes share.
const (
	fixContainer = "inside a container: start it with --privileged, or with --security-opt seccomp=unconfined,apparmor=unconfined,systempaths=unconfined; " +
		"or build outside the container, or choose another Runner"
	fixAppArmor = "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give this program an AppArmor profile with \"userns,\", or build as root"
)

// explainStart says why no process in new namespaces could be started.
func explainStart(m machine, id *identity, err error) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return fmt.Errorf("sandbox: start the helper process: %w", err)
	}
	u := &sandbox.UnavailableError{Err: errno}
	switch {
	case errno == unix.ENOENT:
		u.Cause, u.Fix = "/proc is not mounted", "mount it: mount -t proc proc /proc"
	case errno == unix.EAGAIN || errno == unix.ENOMEM:
		return fmt.Errorf("sandbox: start the helper process: %w (out of memory, or of processes: see ulimit -u)", err)
	case errno == unix.ENOSPC || errno == unix.EUSERS:
		u.Cause = "the limit on namespaces is reached" + sysctl(" ", "user/max_user_namespaces", "user/max_mnt_namespaces", "user/max_pid_namespaces")
		u.Fix = "raise it, for example: sudo sysctl user.max_user_namespaces=10000"
	case !id.userNS:
		u.Cause, u.Fix = "this process may not make namespaces", fixContainer
	case sysctl("", "kernel/unprivileged_userns_clone") == "kernel/unprivileged_userns_clone=0":
		u.Cause, u.Fix = "ordinary users may not make user namespaces", "sudo sysctl kernel.unprivileged_userns_clone=1, or build as root"
	case appArmorRestricts():
		u.Cause, u.Fix = "AppArmor keeps ordinary users from using user namespaces", fixAppArmor
	case errno == unix.EINVAL:
		u.Cause, u.Fix = "this kernel has no user namespaces (CONFIG_USER_NS)", "build as root, or on another kernel"
	default:
		u.Cause, u.Fix = "this process may not make user namespaces", fixContainer
	}
	return u
}

// sysctl returns " name=value" for those that can be read, after prefix.
func sysctl(prefix string, names ...string) string {
	var out []string
	for _, n := range names {
		if b, err := os.ReadFile("/proc/sys/" + n); err == nil {
			out = append(out, n+"="+strings.TrimSpace(string(b)))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return prefix + strings.Join(out, " ")
}

func appArmorRestricts() bool {
	const n = "kernel/apparmor_restrict_unprivileged_userns"
	return sysctl("", n) == n+"=1"
}

// explain turns what the child could not do into an error of package sandbox.
func explain(p *process, f *child.Failure) error {
	switch f.Stage {
	case child.StageExec:
		if f.NotFound {
			return &sandbox.NotFoundError{Name: p.spec.Args[0], Tried: f.Tried, NoEnv: len(f.Tried) == 0}
		}
		return &sandbox.ExecError{Path: f.Path, Interpreter: f.Interpreter, Reason: f.Reason, Err: f.Errno}
	case child.StageDir:
		return &sandbox.DirError{Dir: f.Path, Err: f.Errno}
	case child.StageMount:
		return explainMount(p, f)
	case child.StageEmulator:
		return explainEmulator(p, f)
	case child.StageLimit:
		return explainLimit(f)
	case child.StageRoot:
		return explainRoot(p, f)
	}
	denied := f.Errno == unix.EPERM || f.Errno == unix.EACCES
	u := &sandbox.UnavailableError{Err: f.Errno}
	switch {
	case denied && p.id.userNS && appArmorRestricts():
		u.Cause, u.Fix = "AppArmor keeps ordinary users from using user namespaces", fixAppArmor
	case denied && f.Stage == child.StageProc:
		u.Cause = "a new /proc may not be mounted because parts of the present one are hidden, as they are in containers"
		u.Fix = fixContainer
	case f.Stage == child.StagePivot && f.Op == "pivot_root":
		u.Cause, u.Fix = "the root of this machine is an initramfs, which cannot be left", "switch_root to a real or tmpfs root before building"
	case f.Stage == child.StageSeccomp:
		u.Cause, u.Fix = "this kernel takes no system call filters (CONFIG_SECCOMP_FILTER)", "build on another kernel"
	case f.Stage == child.StageIdentity && f.Errno == unix.EINVAL:
		return fmt.Errorf("sandbox: %s: %w: the id does not exist in the user namespace of this process", f.Op, f.Errno)
	case denied:
		u.Cause, u.Fix = strings.TrimSpace("not allowed to "+f.Op+" "+f.Path), fixContainer
	default:
		u.Cause = strings.TrimSpace("failed to " + f.Op + " " + f.Path)
	}
	return u
}

func explainMount(p *process, f *child.Failure) error {
	e := &sandbox.MountError{Index: f.Index, Target: f.Path, Op: f.Op, Err: f.Errno}
	if f.Index >= 0 && f.Index < len(p.spec.Mounts) {
		m := &p.spec.Mounts[f.Index]
		e.Target, e.Source = m.Target, m.Source
	}
	switch {
	case f.Index < 0 && f.Errno == unix.ELOOP:
		e.Op += ", but the image has a symbolic link there"
	case f.Errno == unix.ENOTDIR:
		e.Op += ", but the image has a file where a directory should be"
	case f.Errno == unix.EISDIR:
		e.Op += ", but the image has a directory where a file should be"
	case f.Errno == unix.EBUSY:
		e.Op += ", but links lead to the root itself"
	case f.Errno == unix.EPERM && strings.HasPrefix(f.Op, "find"):
		e.Op += ", which would be in /proc"
	}
	return e
}

// explainRoot says why the root could not be put together.
func explainRoot(p *process, f *child.Failure) error {
	if f.Op != "mount an overlay" && f.Op != "mount a tmpfs" {
		return fmt.Errorf("sandbox: %s %s: %w", f.Op, f.Path, f.Errno)
	}
	u := &sandbox.UnavailableError{Err: f.Errno}
	denied := f.Errno == unix.EPERM || f.Errno == unix.EACCES
	where := filesystem(p.spec.Root.Upper)
	switch {
	case denied && p.id.userNS && appArmorRestricts():
		u.Cause, u.Fix = "AppArmor keeps ordinary users from using user namespaces", fixAppArmor
	case f.Op == "mount a tmpfs":
		u.Cause, u.Fix = "not allowed to mount anything", fixContainer
	case f.Errno == unix.ENODEV:
		u.Cause, u.Fix = "this kernel has no overlayfs", "load it: sudo modprobe overlay"
	case denied && p.id.userNS:
		u.Cause, u.Fix = "ordinary users may not mount an overlay; the kernel must be 5.11 or newer", "build as root, or on a newer kernel"
	case p.spec.Root.Upper != "":
		u.Cause = fmt.Sprintf("the kernel refuses an overlay whose upper directory %s is on %s", p.spec.Root.Upper, where)
		u.Fix = "put the cache directory on a local filesystem such as ext4, xfs or tmpfs"
	default:
		u.Cause = "the kernel refuses an overlay of the lower directories"
		u.Fix = "put the cache directory on a local filesystem such as ext4, xfs or tmpfs"
	}
	return u
}

// filesystem names the kind of filesystem that path lies on.
func filesystem(path string) string {
	var st unix.Statfs_t
	if path == "" || unix.Statfs(path, &st) != nil {
		return "an unknown filesystem"
	}
	switch int64(st.Type) {
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "an overlay itself, as the root of a container is"
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.FUSE_SUPER_MAGIC:
		return "a FUSE filesystem"
	case unix.EXT4_SUPER_MAGIC:
		return "ext2, ext3 or ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs (it must be made with ftype=1)"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	}
	return fmt.Sprintf("a filesystem of type %#x", st.Type)
}
