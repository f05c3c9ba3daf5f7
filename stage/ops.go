package stage

import (
	"context"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
)

// Op is one operation of a stage. The kinds are sealed; an executor switches
// over them:
//
//	files:  [*BaseOp] [*RunOp] [*CopyOp] [*FileOp] [*MkdirOp] [*SymlinkOp] [*RemoveOp] [*WorkdirOp]
//	        [*MergeOp] [*ApplyOp] [*FuncOp]
//	config: [*ConfigOp] [*ArgOp]
//	layers: [*LayerOp]
//	order:  [*NeedsOp]
//
// [*RunDefaultsOp] is in a stage as written, never in a Graph. In a [Graph] every text
// of an operation is expanded and every path absolute. An Op must not be changed
// after it was made.
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
	Command    string   // the shell form's text; empty for the exec form
	Argv       []string // in a Graph: the whole command line with the shell
	Script     bool     // Command is a script of several lines that stops at the first failure
	ScriptName string   // where a script that begins with "#!" is put; empty for a place of the executor's choice
	Env        []string // in a Graph: NAME=value of the config, then of the arguments
	Args       []string // in a Graph: NAME=value of the arguments alone, for the history
	Proxy      []string // in a Graph: NAME=value of proxy arguments; in no key and no history
	Dir        string   // in a Graph: the working directory
	User       string   // in a Graph: as the config says it; names are looked up in the stage's files
	Mounts     []Mount
	Network    Network
	Hosts      []Host        // further lines of /etc/hosts; the addresses are in no key
	Timeout    time.Duration // of each attempt; 0 for none
	Retry      int           // further attempts after a failure
	Allow      []int         // exit codes that are no failure, beside 0
	Stdin      []byte
	Capture    bool // the output is kept with the step's result
	Limits     Limits
	Cache      CacheRule
	Compatible bool // see Compatible
}

// CopyOp copies files from a source.
type CopyOp struct {
	From       Source
	Paths      []string     // in a Graph: expanded, relative to the source's root, "" or "." for all of it
	Inline     []InlineFile // after Paths
	Dest       string       // in a Graph: absolute; a trailing slash says that it is a directory
	Chown      string       // "user", "user:group", names or numbers; empty keeps the rule of the source
	Chmod      string       // octal, or as chmod(1) takes it; empty keeps the source's
	ChmodDirs  string       // of directories; empty means Chmod
	Parents    bool         // the directories of a path are kept, from the element after "."
	Exclude    []string     // patterns of what is left out
	Link       bool         // the layer does not depend on the files below it
	Unpack     Unpack
	Links      LinkRule
	Optional   bool // a path that matches nothing is not an error
	Add        bool // it was written as ADD
	Keep       bool // the modes of local files are kept
	Cache      CacheRule
	Compatible bool // see Compatible
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
	// Compatible says that a number alone has the group of the same number, and that a
	// name that the stage does not know is root; see Compatible.
	Compatible bool
}

// MergeOp lays the files of stages over the files so far, in order. Step.Inputs are
// the stages' last steps.
type MergeOp struct{ Stages []Stage }

// ApplyOp makes the changes that lead from one stage to another, removals included.
// Step.Inputs are the last steps of both.
type ApplyOp struct{ Lower, Upper Stage }

// FuncOp changes files by a Go function.
type FuncOp struct {
	Name, Version string
	Do            func(ctx context.Context, in fs.FS, out Writer) error
	Cache         CacheRule
}

// LayerOp changes nothing: it says that the steps after Since, up to the parent of
// this one, have one layer and one line of the history together.
type LayerOp struct {
	Since int    // in a Graph: the step below the group
	Text  string // in the history; empty for the texts of the steps

	below *link
}

// ConfigOp changes nothing but the image configuration. Step.Config has the
// result.
type ConfigOp struct {
	// Instruction is the instruction of a Dockerfile: ENV, LABEL, USER, EXPOSE,
	// VOLUME, CMD, ENTRYPOINT, SHELL, STOPSIGNAL, HEALTHCHECK, ONBUILD, MAINTAINER; or
	// UNSETENV, UNSETLABEL, UNEXPOSE, UNVOLUME, which Dockerfiles do not have.
	Instruction string
	// Words are as written: names and values in turn of ENV and LABEL, the command
	// of CMD, ENTRYPOINT and SHELL, else a list.
	Words []string
	// Shell says that the one word is a line for the stage's shell.
	Shell bool
	// Health is the check of HEALTHCHECK; nil is NONE.
	Health *Health
}

// ArgOp declares build arguments for what follows in the stage.
type ArgOp struct {
	Args []arg.Arg
}

// NeedsOp changes nothing: Step.Inputs are steps that must have succeeded. It has
// no history and is part of no key.
type NeedsOp struct{ Stages []Stage }

// RunDefaultsOp holds options for the Run steps that follow in the stage.
type RunDefaultsOp struct{ Options []RunOption }

// badOp keeps a mistake that was made while recording.
type badOp struct {
	instruction string
	err         error
	fix         string
}

func (*BaseOp) op()        {}
func (*RunOp) op()         {}
func (*CopyOp) op()        {}
func (*FileOp) op()        {}
func (*MkdirOp) op()       {}
func (*SymlinkOp) op()     {}
func (*RemoveOp) op()      {}
func (*WorkdirOp) op()     {}
func (*MergeOp) op()       {}
func (*ApplyOp) op()       {}
func (*FuncOp) op()        {}
func (*LayerOp) op()       {}
func (*ConfigOp) op()      {}
func (*ArgOp) op()         {}
func (*NeedsOp) op()       {}
func (*RunDefaultsOp) op() {}
func (*badOp) op()         {}

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
func OnPlatform(p platform.Platform) FromOption { return OnPlatformText(p.String()) }

// OnBuildPlatform pins the stage to the platform of the machine that builds,
// as FROM --platform=$BUILDPLATFORM does: for compilers that cross-compile.
func OnBuildPlatform() FromOption { return OnPlatformText("$BUILDPLATFORM") }
