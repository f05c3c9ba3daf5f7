package stage

import (
	"errors"
	"strconv"
	"strings"
)

// Paths is one path or several: a plain string is one, [Files] joins several.
// A path may hold the wildcards of path.Match and "**" for any depth, and
// ${NAME} of arguments and environment. A constant string is a Paths by itself; of a
// string that is computed, make one with Files.
type Paths string

// Files joins several paths into one Paths, for a copy that takes more than one
// source.
func Files(paths ...string) Paths { return Paths(strings.Join(paths, "\x00")) }

func (p Paths) list() []string { return strings.Split(string(p), "\x00") }

// Copy copies files of the build context into the stage. Of a directory the
// contents are copied, not the directory itself. dest is relative to the working
// directory; it must end in "/" (or be ".") when there is more than one source.
//
// Files of the context belong to 0:0 and have mode 0755 when their owner may
// execute them, else 0644; directories have 0755. Neither umask nor the ids of
// this machine reach the image. A named pipe is copied as one; a socket is left out. Paths are relative to the context and cannot
// leave it; a path or a wildcard that matches nothing is an error.
func (s Stage) Copy(paths Paths, dest string, opts ...CopyOption) Stage {
	return s.then(here(), newCopy(Context(), paths, dest, opts))
}

// CopyFrom copies files of a stage, an image, a directory or a file system into
// the stage. Paths are relative to the root of the source. Files of stages and
// images keep their modes and owners; those of directories and file systems
// follow the rule of [Stage.Copy].
func (s Stage) CopyFrom(from Source, paths Paths, dest string, opts ...CopyOption) Stage {
	return s.then(here(), newCopy(from, paths, dest, opts))
}

func newCopy(from Source, paths Paths, dest string, opts []CopyOption) Op {
	if st, ok := from.(Stage); ok && st.last == nil {
		return &badOp{"COPY", errZeroStage, ""}
	}
	if from == nil {
		return &badOp{"COPY", errors.New("no source to copy from"), "give a Stage, stage.Image, stage.Dir or stage.FS"}
	}
	if fsys, ok := from.(FSSource); ok && fsys.FS == nil {
		return &badOp{"COPY", errors.New("stage.FS(nil): no file system"), ""}
	}
	op := &CopyOp{From: from, Paths: paths.list(), Dest: dest}
	for _, o := range opts {
		o(op)
	}
	return op
}

// CopyOption adjusts one copy.
type CopyOption func(*CopyOp)

// Chown gives the copied files an owner: "user", "user:group", "uid", "uid:gid".
// Names are looked up in /etc/passwd and /etc/group of the stage; a name alone
// takes the user's group, a number alone the group with the same number.
func Chown(owner string) CopyOption { return func(op *CopyOp) { op.Chown = owner } }

// Chmod gives the copied files and directories one mode, in octal up to "7777".
// Directories made above the destination have 0755.
func Chmod(octal string) CopyOption { return func(op *CopyOp) { op.Chmod = octal } }

// Optional lets a path match nothing.
func Optional() CopyOption { return func(op *CopyOp) { op.Optional = true } }

func owner(uid, gid uint32) string {
	return strconv.FormatUint(uint64(uid), 10) + ":" + strconv.FormatUint(uint64(gid), 10)
}
