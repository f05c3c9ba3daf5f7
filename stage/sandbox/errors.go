package sandbox

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/platform"
)

// InvalidSpecError reports a Spec that means nothing on any machine.
type InvalidSpecError struct {
	Field  string // the field of Spec, as "Mounts[2].Target"
	Reason string // what is wrong with it and what it should be
}

// Error tells what is wrong, and where.
func (e *InvalidSpecError) Error() string {
	return "sandbox: invalid spec: " + e.Field + " " + e.Reason
}

// UnavailableError reports that no process can be run on this machine in the
// wanted way, why, and what to do about it.
type UnavailableError struct {
	Cause string // what this machine lacks or forbids
	Fix   string // what to do about it, may be empty
	Err   error  // what the kernel said, may be nil
}

// Error tells what is wrong, and where.
func (e *UnavailableError) Error() string {
	s := "sandbox: cannot run processes here: " + e.Cause
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// NotFoundError reports that no file in the root is the command that
// Spec.Args[0] names. It is an fs.ErrNotExist.
type NotFoundError struct {
	Name  string   // Args[0]
	Tried []string // the paths that were tried, inside the root
	NoEnv bool     // Name has no slash and Env no PATH
}

// Error tells what is wrong, and where.
func (e *NotFoundError) Error() string {
	s := "sandbox: command " + strconv.Quote(e.Name) + " not found in the root"
	if e.NoEnv {
		return s + ": the environment has no PATH; set it or give the command's absolute path"
	}
	if len(e.Tried) > 0 {
		s += " (tried " + strings.Join(e.Tried, ", ") + ")"
	}
	return s
}

// Is reports whether target is fs.ErrNotExist.
func (e *NotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// ExecError reports a command that is there but cannot be executed.
type ExecError struct {
	Path        string // the command, inside the root
	Interpreter string // the interpreter or dynamic linker that the root lacks, if that is the cause
	Reason      string // the cause in words
	Err         error  // what execve said
}

// Error tells what is wrong, and where.
func (e *ExecError) Error() string {
	return fmt.Sprintf("sandbox: cannot execute %s: %s (%v)", e.Path, e.Reason, e.Err)
}

// Unwrap returns the cause.
func (e *ExecError) Unwrap() error { return e.Err }

// DirError reports that Spec.Dir cannot be entered.
type DirError struct {
	Dir string
	Err error
}

// Error tells what is wrong, and where.
func (e *DirError) Error() string {
	return fmt.Sprintf("sandbox: cannot enter the working directory %s of the root: %v", e.Dir, e.Err)
}

// Unwrap returns the cause.
func (e *DirError) Unwrap() error { return e.Err }

// MountError reports that one of Spec.Mounts could not be made.
type MountError struct {
	Index  int    // into Spec.Mounts
	Target string // where it should appear
	Source string // for a MountBind, the path on the host
	Op     string // what was tried, as "open source"
	Err    error
}

// Error tells what is wrong, and where.
func (e *MountError) Error() string {
	s := fmt.Sprintf("sandbox: mount %d on %s", e.Index, e.Target)
	if e.Source != "" {
		s += " from " + e.Source
	}
	return s + ": " + e.Op + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *MountError) Unwrap() error { return e.Err }

// UnmappedIDError reports that a Spec needs a user or group id that the
// caller's id map does not have.
type UnmappedIDError struct {
	What string // the field of Spec, as "User.UID"
	ID   uint32
	// Group says that ID is a group id.
	Group bool
}

// Error tells what is wrong, and where.
func (e *UnmappedIDError) Error() string {
	kind := "user"
	if e.Group {
		kind = "group"
	}
	return fmt.Sprintf("sandbox: %s: %s id %d does not exist here: an ordinary user's sandbox has id 0 only, unless Root.IDs maps subordinate ids "+
		"(install newuidmap and newgidmap and give this user ranges in /etc/subuid and /etc/subgid), or build as root", e.What, kind, e.ID)
}

// LimitError reports a limit that this machine cannot enforce for this caller,
// why, and what to do about it.
type LimitError struct {
	Limit string // the field of Limits, as "Memory", or the name of an Rlimit
	Cause string // what this machine lacks or forbids
	Fix   string // what to do about it, may be empty
	Err   error  // what the kernel said, may be nil
}

// Error tells which limit, and why not.
func (e *LimitError) Error() string {
	s := "sandbox: cannot limit " + e.Limit + " here: " + e.Cause
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Unwrap returns the cause.
func (e *LimitError) Unwrap() error { return e.Err }

// PlatformError reports that programs for a platform cannot be run on this machine, why,
// and what to do about it.
type PlatformError struct {
	Platform platform.Platform
	Cause    string // what this machine lacks, or what is wrong with the emulator
	Fix      string // what to do about it, may be empty
	Err      error  // what the kernel said, may be nil
}

// Error tells which platform, and why not.
func (e *PlatformError) Error() string {
	s := "sandbox: cannot run programs for " + e.Platform.String() + " here: " + e.Cause
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Unwrap returns the cause.
func (e *PlatformError) Unwrap() error { return e.Err }
