package child

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"syscall"
)

// Name is Args[0] of a child.
const Name = "stagewright-sandbox-init"

// The descriptors that a child inherits beside 0, 1 and 2.
const (
	// ConfigFD is a pipe that carries one Config. The parent keeps its end open
	// until the child has become the command: its closing means that the parent is gone.
	ConfigFD = 3
	// ReportFD is a pipe that takes Reports.
	ReportFD = 4
	// FirstSocketFD and those after it are unbound sockets, one for each Mount of
	// kind Socket, and then what is mounted already: the root and what Config.Given says.
	FirstSocketFD = 5
	firstFree     = 5
)

// magic precedes each message, so that a program that happens to be started
// under Name does not take some other pipe for a configuration.
const magic = "sbx\x01"

// maxMessage bounds a message; the file contents of a Spec are the bulk of it.
const maxMessage = 64 << 20

// Config is what a child is to do. All ids are those inside.
type Config struct {
	Lowers      []string
	Upper, Work string

	// Ahead says that this is not the Config yet: the child mounts what System says and waits for the
	// Config, which must have the same System and nothing Inherited.
	Ahead bool
	System

	UserXattr bool // overlay marks as user.*, as outside the initial user namespace
	Hostname  string
	Mounts    []Mount

	Args, Env []string
	Dir       string
	UID, GID  uint32
	Groups    []uint32
	SetGroups bool // setgroups(2) is allowed
	Caps      uint64
	Filter    []byte  // a struct sock_filter array
	Null      [3]bool // descriptors 0 to 2 that are to be /dev/null
	Merge     bool    // descriptor 2 is to be the same as 1
	DryRun    bool    // do everything but execve, and exit 0
	Inherited int     // how many descriptors there are from FirstSocketFD on
	// RootFD is the root as a mount that is attached nowhere, or 0: Lowers, Upper and Work
	// then only say what it was made of.
	RootFD int
	// Given says that the host's files may be out of reach of this user namespace, so that all that
	// is needed of them comes with the descriptors: RootFD, the Sources of the Mounts, the
	// upper directory (0 for none), a tmpfs with device nodes for /dev, and a sysfs (0 for one of its own).
	Given                 bool
	UpperFD, DevFD, SysFD int
	// Emulators run programs of other machines in this user namespace, which must be new.
	Emulators []Emulator
	// Await has the child wait, when it is ready, for one byte on ConfigFD: until
	// then it is not in the control groups that limit the command.
	Await   bool
	Rlimits []Rlimit

	// Remove has the child take these out of Upper again, and do nothing else.
	Remove []Created

	NoVolatile bool
}

// System is how /proc, /dev and /sys are made, and what else does not depend on the step.
type System struct {
	BindNodes      bool // show the host's device nodes instead of making some
	FreshSysfs     bool
	Loopback       bool
	TTYGroup       bool // group 5 exists, so terminals can belong to it
	NoMountSetattr bool
}

// Emulator is an interpreter to register with the binfmt_misc of a new user namespace.
type Emulator struct {
	Path string // on the host
	Name string // a file name: what it is told that it is called
	Line string // what is written to register it, with Name as the interpreter
}

// Rlimit is a limit of setrlimit(2).
type Rlimit struct {
	Name       string
	Resource   int
	Soft, Hard uint64
}

// The kinds of Mount.
const (
	Bind   = "bind"
	Tmpfs  = "tmpfs"
	File   = "file"
	Socket = "socket"
)

// Mount is one mount of a Config.
type Mount struct {
	Kind           string
	Source, Target string
	ReadOnly       bool
	Size           int64
	Mode, UID, GID uint32
	Data           []byte
	FD             int // of a Socket, and of a Bind whose Source is Given
}

// Report is what a child says: first one when the root is ready, then nothing
// if execve succeeds. A Report with a Failure is the last. Each has all that
// was Created.
type Report struct {
	Created []Created
	Failure *Failure
}

// Created is a mount point that was missing in the root. Path is relative to
// the root, without links.
type Created struct {
	Path     string
	Dir      bool
	Whiteout bool // the upper directory had a whiteout there
}

// The stages in which a child can fail.
const (
	StageSetup    = "setup"
	StageRoot     = "root"
	StageProc     = "proc"
	StageDev      = "dev"
	StageSys      = "sys"
	StageMount    = "mount"
	StageEmulator = "emulator"
	StagePivot    = "pivot"
	StageLimit    = "limit"
	StageIdentity = "identity"
	StageSeccomp  = "seccomp"
	StageDir      = "dir"
	StageExec     = "exec"
)

// Failure is why a child did not become the command.
type Failure struct {
	Stage string
	Op    string // what was tried, in words
	Path  string
	Errno syscall.Errno
	Index int // of the mount

	// Of StageExec:
	Tried       []string
	NotFound    bool
	Interpreter string
	Reason      string
}

// Error names the stage of the start, the system call and its path, and the errno.
func (f *Failure) Error() string {
	return fmt.Sprintf("%s: %s %s: %v", f.Stage, f.Op, f.Path, f.Errno)
}

// fail makes a Failure of err, which must come from a system call.
func fail(stage, op, path string, err error) *Failure {
	f := &Failure{Stage: stage, Op: op, Path: path, Errno: syscall.EINVAL, Index: -1}
	errors.As(err, &f.Errno)
	return f
}

// Send writes v, a pointer to a Config or Report, as one message.
func Send(w io.Writer, v any) error {
	const head = len(magic) + 4
	msg := append(make([]byte, 0, 8192), magic...)
	msg = appendValue(append(msg, 0, 0, 0, 0), reflect.ValueOf(v).Elem())
	if len(msg)-head > maxMessage {
		return fmt.Errorf("a message of %d bytes is too large", len(msg)-head)
	}
	binary.LittleEndian.PutUint32(msg[len(magic):], uint32(len(msg)-head))
	_, err := w.Write(msg)
	return err
}

// Receive reads one message into v, as Send took it. It returns io.EOF when there is none.
func Receive(r io.Reader, v any) error {
	var head [len(magic) + 4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(head[len(magic):])
	if string(head[:len(magic)]) != magic || n > maxMessage {
		return errors.New("not a message of the sandbox")
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	rest, err := takeValue(body, reflect.ValueOf(v).Elem())
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("a message has %d bytes too many", len(rest))
	}
	return err
}

// fdFile is a bare descriptor as an io.ReadWriter. An os.File would bring the
// poller and its descriptors along.
type fdFile int

func (f fdFile) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(f), p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (f fdFile) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := syscall.Write(int(f), p[done:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}
