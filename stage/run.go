package stage

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Run runs a command line with the stage's shell ("/bin/sh -c" unless Shell
// says otherwise), as a Dockerfile's RUN does. The shell expands variables: it
// finds the configured environment and the declared arguments as environment
// variables. Of several lines only the last one's exit code counts; [Stage.Script]
// stops at the first failure.
//
// The step fails when the command does not end with exit code 0.
func (s Stage) Run(command string, opts ...RunOption) Stage {
	return s.then(here(), s.newRun(&RunOp{Command: command}, opts))
}

// RunExec runs a program without a shell. argv is taken as it is; nothing in it
// is expanded.
func (s Stage) RunExec(argv []string, opts ...RunOption) Stage {
	return s.then(here(), s.newRun(&RunOp{Argv: slices.Clone(argv)}, opts))
}

// Script runs a script of several lines that stops at the first command that
// fails ("set -e"). A text that begins with "#!" is run by the interpreter that
// it names, otherwise by the stage's shell.
func (s Stage) Script(text string, opts ...RunOption) Stage {
	return s.then(here(), s.newRun(&RunOp{Command: text, Script: true}, opts))
}

func (s Stage) newRun(op *RunOp, opts []RunOption) Op {
	if err := checkOptions(opts); err != nil {
		return &badOp{"RUN", err, leaveAway}
	}
	for _, o := range opts {
		o.ApplyRun(op)
	}
	if err := op.Cache.check(); err != nil {
		return &badOp{"RUN", err, ""}
	}
	docker := s.last != nil && s.last.root.rules != nil && op.Argv == nil // an empty line for the shell
	if op.Command == "" && len(op.Argv) == 0 && !docker {
		return &badOp{"RUN", errors.New("no command"), "give a command line or an argv"}
	}
	return op
}

// RunOption adjusts one Run step: a [RunFunc], as most functions here return, or a
// [CacheOption].
type RunOption interface {
	// ApplyRun changes an operation that is being recorded.
	ApplyRun(op *RunOp)
}

// RunFunc adjusts the operation while it is recorded.
type RunFunc func(op *RunOp)

// ApplyRun calls f.
func (f RunFunc) ApplyRun(op *RunOp) { f(op) }

// Network is what a Run step may reach.
type Network string

const (
	// NetworkDefault is the network of the process that builds.
	NetworkDefault Network = ""
	// NetworkHost is the same, said in so many words.
	NetworkHost Network = "host"
	// NetworkNone has a loopback interface and nothing else.
	NetworkNone Network = "none"
)

// WithNetwork sets the network of the step.
func WithNetwork(n Network) RunOption { return RunFunc(func(op *RunOp) { op.Network = n }) }

// MountType is the kind of a [Mount].
type MountType string

const (
	// MountCache is a directory that is kept between builds.
	MountCache MountType = "cache"
	// MountBind shows files of a source.
	MountBind MountType = "bind"
	// MountTmpfs is an empty directory in memory.
	MountTmpfs MountType = "tmpfs"
	// MountSecret is a file, or an environment variable, with a secret value.
	MountSecret MountType = "secret"
	// MountSSH is the socket of an SSH agent.
	MountSSH MountType = "ssh"
)

// Sharing says what two steps that run at the same time do with one cache
// mount.
type Sharing string

const (
	// Shared lets both use the directory at once.
	Shared Sharing = "shared"
	// Private gives the second one a directory of its own.
	Private Sharing = "private"
	// Locked lets the second one wait.
	Locked Sharing = "locked"
)

// Mount is something that a Run step sees and that leaves no trace in the
// stage's files. Make one with [CacheMount], [BindMount], [TmpfsMount],
// [SecretMount], [SecretEnv] or [SSHMount].
type Mount struct {
	Type     MountType
	Target   string   // in a Graph: absolute; empty for a secret that is only a variable
	ID       string   // cache, secret, ssh
	From     Source   // bind; cache: what a new directory begins with, nil for nothing
	Path     string   // bind, cache: path in the source
	Writable bool     // bind: writes are allowed and thrown away
	ReadOnly bool     // cache: writes are refused
	Sharing  Sharing  // cache
	Size     int64    // tmpfs: bytes, 0 for no limit
	Mode     uint32   // cache, secret, ssh: permission bits; 0 for the default
	Owner    string   // cache, secret, ssh: "uid:gid"; empty for 0:0
	Env      string   // secret: name of the variable
	Optional bool     // secret, ssh: one that is not given is not an error
	Late     []string // of MountSetting: "mode=${MODE}", what is known only when variables are; empty in a Graph
}

// MountOption adjusts one mount.
type MountOption func(*Mount)

// CacheMount keeps the directory target between builds and steps, outside the
// image: for package and compiler caches. Steps with the same id share it; the
// id defaults to the target. Its contents are in no cache key.
func CacheMount(target string, opts ...MountOption) RunOption {
	return mount(Mount{Type: MountCache, Target: target}, opts)
}

// BindMount shows path of a source at target, read-only unless Writable is
// given. The contents of the path are part of the step's cache key.
func BindMount(from Source, path, target string, opts ...MountOption) RunOption {
	return mount(Mount{Type: MountBind, From: from, Path: path, Target: target}, opts)
}

// TmpfsMount gives the step an empty directory in memory of at most size bytes;
// 0 means no limit of its own.
func TmpfsMount(target string, size int64, opts ...MountOption) RunOption {
	return mount(Mount{Type: MountTmpfs, Target: target, Size: size}, opts)
}

// SecretMount gives the step the secret id as the file /run/secrets/ID, mode
// 0400. The value comes from the build's options; it is in no layer, no key and
// no history. What the step itself prints is not searched for it. A secret that the options lack is an error unless OptionalSecret is
// given.
func SecretMount(id string, opts ...MountOption) RunOption {
	return mount(Mount{Type: MountSecret, ID: id, Target: "/run/secrets/" + id}, opts)
}

// SecretEnv gives the step the secret id as the environment variable name.
func SecretEnv(id, name string, opts ...MountOption) RunOption {
	return mount(Mount{Type: MountSecret, ID: id, Env: name}, opts)
}

func mount(m Mount, opts []MountOption) RunOption {
	if err := checkOptions(opts); err != nil {
		return badOption{fmt.Errorf("%s mount %s: %w", m.Type, cmp.Or(m.Target, m.ID), err)}
	}
	for _, o := range opts {
		o(&m)
	}
	return RunFunc(func(op *RunOp) { op.Mounts = append(slices.Clip(op.Mounts), m) })
}

// ID names a cache mount, so that steps share it whatever their targets are.
func ID(id string) MountOption { return func(m *Mount) { m.ID = id } }

// At puts a secret at another path.
func At(target string) MountOption { return func(m *Mount) { m.Target = target } }

// WithSharing sets what concurrent steps do with a cache mount; the default is
// Shared.
func WithSharing(s Sharing) MountOption { return func(m *Mount) { m.Sharing = s } }

// Writable lets a bind mount be written to; the writes are thrown away.
func Writable() MountOption { return func(m *Mount) { m.Writable = true } }

// MountMode sets the permission bits of a cache mount's directory (default
// 0755), of a secret (default 0400) or of an agent's socket (default 0600).
func MountMode(mode uint32) MountOption { return func(m *Mount) { m.Mode = mode } }

// MountOwner sets the owner of a cache mount's directory or of a secret, as
// numbers.
func MountOwner(uid, gid uint32) MountOption {
	return func(m *Mount) { m.Owner = owner(uid, gid) }
}

// SeedFrom fills a cache mount whose directory is made new with the files of a path in
// a source. They are in no cache key.
func SeedFrom(from Source, path string) MountOption {
	return func(m *Mount) { m.From, m.Path = from, path }
}

// ReadOnly refuses writes to a cache mount.
func ReadOnly() MountOption { return func(m *Mount) { m.ReadOnly = true } }

// SSHMount gives the step the socket of the SSH agent with the given id ("" means
// "default") and sets SSH_AUTH_SOCK to its path. The agent comes from the build's
// options; one that they lack is an error unless OptionalSecret is given. Keys never
// enter the step.
func SSHMount(id string, opts ...MountOption) RunOption {
	if id == "" {
		id = "default"
	}
	return mount(Mount{Type: MountSSH, ID: id}, opts)
}

// OptionalSecret makes a secret or an SSH agent that the build's options lack no error.
func OptionalSecret() MountOption { return func(m *Mount) { m.Optional = true } }
