package sandbox

import (
	"io"
	"net"

	"github.com/stagewright/stagewright/platform"
)

// DefaultHostname is the host name of a process whose Spec names none. It is
// the one that BuildKit gives, so that what a step writes down is the same.
const DefaultHostname = "buildkitsandbox"

// MaxLowers is the largest number of directories that Root.Lowers can name: the
// kernel's limit on an overlay's lower layers (OVL_MAX_STACK).
const MaxLowers = 500

// MaxFileData is the largest sum of the sizes of all MountFile contents of one
// Spec, in bytes.
const MaxFileData = 16 << 20

// A Spec describes one process and the root that it sees. A Runner does not
// change it, and the same Spec may be run again, also with the same Upper.
type Spec struct {
	// Root is the root filesystem.
	Root Root
	// Args is the argument vector. Args[0] without a slash is looked up in the
	// PATH of Env, inside the root; a relative path with a slash starts at Dir.
	Args []string
	// Env is the whole environment, "NAME=value" each. Nothing is added.
	Env []string
	// Dir is the working directory, absolute inside the root. Empty means "/".
	// It must exist.
	Dir string
	// User is who the process runs as. The zero value is root.
	User User
	// Hostname is the host name; empty means DefaultHostname.
	Hostname string
	// Network is the network that the process sees.
	Network Network
	// Mounts are made in this order, on top of the root and of /proc, /dev and
	// /sys, which are always there.
	Mounts []Mount
	// Limits bound what the process and all that it starts may use.
	Limits Limits
	// Platform is what the programs of the root are for. The zero value, like this
	// machine's own, needs nothing. For any other the kernel must have an interpreter
	// or run such programs itself: a Runner makes an interpreter that is registered
	// without the flag F (binfmt_misc) and static appear in the root, without a trace.
	Platform platform.Platform
	// Emulators are programs of the host that run those of other architectures, by
	// GOARCH: static programs such as qemu-aarch64-static for "arm64". The one for
	// Platform, if there is one, is used instead of what is registered on this machine, by
	// the process and all that it starts. Nothing is registered outside the sandbox, and the
	// root does not show the program.
	Emulators map[string]string

	// Stdin is what the process reads; nil means an empty input. Run may
	// return while a Read on Stdin still waits, and its result is then lost.
	Stdin io.Reader
	// Stdout and Stderr receive what the process writes; nil discards it. Each
	// is written to by one goroutine, and when both are the same comparable
	// value, by the same one. Run returns after all output has been written.
	// When a Write fails, the process is killed and Run returns that error. A
	// Write that never returns keeps Run from returning, also after ctx has ended.
	Stdout, Stderr io.Writer

	// Features names kernel features that are not to be used even where the
	// kernel has them. Tests set it to walk the paths for older kernels.
	Features Features
}

// Root is the recipe of a root filesystem: directories laid over each other,
// with the semantics of Linux overlayfs.
type Root struct {
	// Lowers are the read-only layers, the topmost first, at most MaxLowers.
	// They are never written to and may be shared by any number of Runs. None
	// means an empty root.
	Lowers []string
	// Upper receives what the process writes, and Work is an empty directory on
	// the same filesystem. Both empty: the root is read-only. After the Run,
	// Upper holds overlayfs's own form of the changes; Work holds rubbish that
	// the kernel makes mode 000 ("work", "work/incompat"), and must be empty
	// again before the next Run. Upper's own mode and owner are those of the
	// root directory that the process sees.
	Upper, Work string
	// IDs maps user and group ids inside the root to those outside. The zero
	// value is the Runner's simplest: all ids as they are where the caller is
	// privileged, else only id 0, which is the caller's own.
	IDs IDs
	// Idmapped has the files of the root and of each MountBind keep their ids whatever IDs makes
	// of them: one that belongs to 5 on the disk belongs to 5 inside, and one that the process
	// gives to 5 belongs to 5 on the disk, while on the host the process itself is the id that
	// IDs says. It needs IDs. Upper and Work must be on the mount of the nearest directory above
	// both, and reached from there without links. A file of an id that IDs does not map can be
	// neither changed nor given away. What cannot be done here is an *UnavailableError; see
	// [CheckIdmapped].
	Idmapped bool
}

// IDs is a pair of id maps, as user_namespaces(7) has them.
type IDs struct {
	UIDs, GIDs []IDRange
}

// IsZero reports whether ids maps nothing by itself.
func (ids IDs) IsZero() bool { return len(ids.UIDs) == 0 && len(ids.GIDs) == 0 }

// An IDRange maps Size ids from Inside upwards to those from Outside upwards.
type IDRange struct {
	Inside, Outside, Size uint32
}

// User is a numeric identity. Names are the caller's to resolve.
type User struct {
	UID, GID uint32
	// Groups are the supplementary groups.
	Groups []uint32
}

// Network is the network that a process sees.
type Network uint8

// The networks.
const (
	// NetworkHost is the caller's own network.
	NetworkHost Network = iota
	// NetworkNone has the loopback interface only, and it is up.
	NetworkNone
)

// MountType is what a Mount puts in place.
type MountType uint8

// The mount types.
const (
	// MountBind shows a file or directory of the host: Source. A directory
	// comes with everything mounted below it.
	MountBind MountType = iota + 1
	// MountTmpfs is an empty directory in memory, of at most Size bytes (0: the
	// kernel's default, half of the memory), gone after the Run.
	MountTmpfs
	// MountFile is a file in memory with the content Data, gone after the Run.
	// Where it is not ReadOnly the process may change it; nobody sees that.
	MountFile
	// MountSocket is a Unix stream socket whose connections Serve answers, in
	// the caller's process. It is gone after the Run.
	MountSocket
)

// A Mount is one thing that a process sees beside its root.
type Mount struct {
	Type MountType
	// Source is the absolute path on the host of a MountBind.
	Source string
	// Target is where it appears, absolute inside the root. Symbolic links in
	// it are followed inside the root. What is missing is made, directories
	// with mode 0755, and removed again after the Run unless the process put
	// something there. It cannot be "/", nor be in /proc.
	Target   string
	ReadOnly bool
	// Size is the limit of a MountTmpfs in bytes.
	Size int64
	// Mode, UID and GID are those of a MountTmpfs, MountFile or MountSocket. Mode
	// 0 means 01777 for the first, as Docker has it, 0644 for the second and 0600 for
	// the third.
	Mode     uint32
	UID, GID uint32
	// Data is the content of a MountFile.
	Data []byte
	// Serve answers one connection to a MountSocket. It is called in a goroutine
	// of its own for each connection and closes it. When the process has ended the
	// Runner closes all of them, and Run waits until all calls have returned.
	Serve func(net.Conn) `json:"-"`
}

// Features is a set of kernel features, as a bit mask.
type Features uint32

// The features that a Runner can do without.
const (
	// FeatureMemfd: run the helper from a sealed copy in memory (Linux 3.17;
	// executable ones may be forbidden by the sysctl vm.memfd_noexec).
	FeatureMemfd Features = 1 << iota
	// FeatureMountSetattr: change a whole mount tree at once (Linux 5.12).
	FeatureMountSetattr
	// FeatureVolatile: no sync of an upper directory that is thrown away or
	// scanned anyway (Linux 5.10).
	FeatureVolatile
	// FeatureDeviceNodes: make device nodes rather than bind the host's.
	FeatureDeviceNodes
	// FeatureFreshSysfs: mount sysfs rather than bind the host's.
	FeatureFreshSysfs
	// FeatureAll is all of them.
	FeatureAll Features = 1<<iota - 1
)
