package stage

import (
	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
)

// Op is one operation of a stage. The kinds are sealed; an executor switches
// over them:
//
//	files:  [*BaseOp] [*RunOp] [*CopyOp] [*FileOp] [*MkdirOp] [*SymlinkOp] [*RemoveOp] [*WorkdirOp]
//	config: [*ConfigOp] [*ArgOp]
//	order:  [*NeedsOp]
//
// In a [Graph] every text of an operation is expanded and every path absolute.
// An Op must not be changed after it was made.
type Op interface{ op() }

// BaseOp begins a stage with an image, or with nothing.
type BaseOp struct {
	Ref    string        // as written, expanded; empty for scratch
	Name   string        // the reference with its digest; empty for scratch or unresolved
	Digest digest.Digest // of the image manifest; empty for scratch or unresolved
	File   image.File    // the image's configuration; zero for scratch or unresolved
}

// RunOp runs a process in the stage's files.
type RunOp struct {
	Command string   // the shell form's text; empty for the exec form
	Argv    []string // in a Graph: the whole command line with the shell
	Script  bool     // Command is a script of several lines that stops at the first failure
	Env     []string // in a Graph: NAME=value of the config, then of the arguments
	Args    []string // in a Graph: NAME=value of the arguments alone, for the history
	Dir     string   // in a Graph: the working directory
	User    string   // in a Graph: as the config says it; names are looked up in the stage's files
	Mounts  []Mount
	Network Network
}

// CopyOp copies files from a source.
type CopyOp struct {
	From     Source
	Paths    []string // in a Graph: expanded, relative to the source's root, "" or "." for all of it
	Dest     string   // in a Graph: absolute; a trailing slash says that it is a directory
	Chown    string   // "user", "user:group", names or numbers; empty keeps the rule of the source
	Chmod    string   // octal; empty keeps the source's
	Optional bool     // a path that matches nothing is not an error
}

// FileOp writes one file.
type FileOp struct {
	Path    string
	Content []byte
	Mode    uint32 // permission bits, up to 07777
	Owner   string // "user", "user:group"; empty means 0:0
}

// MkdirOp makes a directory and the missing ones above it. A directory that is
// there is left as it is.
type MkdirOp struct {
	Path  string
	Mode  uint32
	Owner string
}

// SymlinkOp makes a symbolic link at Path.
type SymlinkOp struct {
	Target string // kept as written
	Path   string
}

// RemoveOp removes a file or a whole directory.
type RemoveOp struct {
	Path     string
	Optional bool // nothing there is not an error
}

// WorkdirOp sets the working directory and makes it when it is missing, owned
// by the current user.
type WorkdirOp struct {
	Path string // in a Graph: absolute and clean
	User string // in a Graph: the owner of what it makes
}

// ConfigOp changes nothing but the image configuration. Step.Config has the
// result.
type ConfigOp struct {
	Instruction string // "ENV", "LABEL", …
	apply       func(*scope) (string, error)
}

// ArgOp declares build arguments for what follows in the stage.
type ArgOp struct {
	Args []arg.Arg
}

// NeedsOp changes nothing: Step.Inputs are steps that must have succeeded. It has
// no history and is part of no key.
type NeedsOp struct{ stages []*link }

// badOp keeps a mistake that was made while recording.
type badOp struct {
	instruction string
	err         error
	fix         string
}

func (*BaseOp) op()    {}
func (*RunOp) op()     {}
func (*CopyOp) op()    {}
func (*FileOp) op()    {}
func (*MkdirOp) op()   {}
func (*SymlinkOp) op() {}
func (*RemoveOp) op()  {}
func (*WorkdirOp) op() {}
func (*ConfigOp) op()  {}
func (*ArgOp) op()     {}
func (*NeedsOp) op()   {}
func (*badOp) op()     {}

// Base is the base of a stage: the reference of an image, or another stage.
type Base interface{ ~string | Stage }

// FromOption adjusts the beginning of a stage.
type FromOption func(*root)

// As names the stage. Names are compared without case, must match
// [a-z][a-z0-9-_.]* and must be unique in a graph; "scratch" and "context" are
// reserved.
func As(name string) FromOption { return func(r *root) { r.name = name } }

// FromArgs declares arguments that the base's reference may use. They are seen
// by the reference only, like an ARG before FROM.
func FromArgs(args ...arg.Arg) FromOption {
	return func(r *root) { r.args = append(r.args, args...) }
}

// OnPlatform pins the stage to one platform, whatever platform is built.
func OnPlatform(p platform.Platform) FromOption {
	return func(r *root) { r.pin = func(platform.Platform) platform.Platform { return p } }
}

// OnBuildPlatform pins the stage to the platform of the machine that builds,
// as FROM --platform=$BUILDPLATFORM does: for compilers that cross-compile.
func OnBuildPlatform() FromOption {
	return func(r *root) { r.pin = func(build platform.Platform) platform.Platform { return build } }
}
