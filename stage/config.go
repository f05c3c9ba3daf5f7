package stage

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/stagewright/stagewright/arg"
)

// Arg declares build arguments. What follows in the stage, and in stages built
// from it, may use them as ${NAME}; Run finds them in its environment. They are
// no part of the image's configuration. The names TARGETPLATFORM, TARGETOS,
// TARGETARCH, TARGETVARIANT and the same with BUILD have values without being
// given any.
func (s Stage) Arg(args ...arg.Arg) Stage {
	return s.then(here(), &ArgOp{Args: slices.Clone(args)})
}

// Env sets environment variables of the image and of later steps: a name and its
// value, then further pairs. A variable that exists keeps its place. Names and values
// are expanded with the environment before the call.
func (s Stage) Env(name, value string, more ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "ENV", Words: append([]string{name, value}, more...)})
}

// UnsetEnv removes environment variables, inherited ones too. One that is not set is
// an error.
func (s Stage) UnsetEnv(names ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "UNSETENV", Words: slices.Clone(names)})
}

// Label sets labels of the image: a key and its value, then further pairs. Keys and
// values are expanded.
func (s Stage) Label(key, value string, more ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "LABEL", Words: append([]string{key, value}, more...)})
}

// UnsetLabel removes labels, inherited ones too. One that is not set is an error.
func (s Stage) UnsetLabel(keys ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "UNSETLABEL", Words: slices.Clone(keys)})
}

// Author sets the author field of the image, as MAINTAINER does.
func (s Stage) Author(name string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "MAINTAINER", Words: []string{name}})
}

// OnBuild records an instruction of a Dockerfile that a stage built from this one, or
// from its image, begins with. It is kept as it is.
func (s Stage) OnBuild(instruction string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "ONBUILD", Words: []string{instruction}})
}

// Workdir sets the working directory of the image and of later steps, and makes
// it with mode 0755, owned by the current user, when it is missing. A relative
// path is below the previous one.
func (s Stage) Workdir(dir string) Stage {
	return s.then(here(), &WorkdirOp{Path: dir})
}

// User sets the user of the image and of later Run steps: "name", "name:group",
// "uid", "uid:gid". It is kept as written and looked up when a Run needs it.
func (s Stage) User(user string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "USER", Words: []string{user}})
}

// Port is a network port: a number for TCP, or what [UDP] and [SCTP] return.
type Port uint32

// The protocol is kept far above the number, so that a number that is too large
// stays recognisable.
const (
	protocolShift      = 24
	udp           Port = 1 << protocolShift
	sctp          Port = 2 << protocolShift
)

// UDP is a UDP port.
func UDP(port uint16) Port { return udp | Port(port) }

// SCTP is an SCTP port.
func SCTP(port uint16) Port { return sctp | Port(port) }

// String returns the port as Docker writes it: "53/udp".
func (p Port) String() string {
	proto := [...]string{"tcp", "udp", "sctp"}
	if int(p>>protocolShift) >= len(proto) {
		return fmt.Sprintf("invalid port %d", uint32(p))
	}
	return strconv.Itoa(p.number()) + "/" + proto[p>>protocolShift]
}

func (p Port) number() int { return int(p & (1<<protocolShift - 1)) }

// Expose records ports that the image listens on.
func (s Stage) Expose(ports ...Port) Stage {
	specs := make([]string, len(ports))
	for i, p := range ports {
		specs[i] = p.String()
	}
	return s.then(here(), &ConfigOp{Instruction: "EXPOSE", Words: specs})
}

// ExposeSpec records ports written as text: "8080", "53/udp", "3000-3005",
// "${PORT}/tcp".
func (s Stage) ExposeSpec(specs ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "EXPOSE", Words: slices.Clone(specs)})
}

// Unexpose removes ports, inherited ones too, in the forms of ExposeSpec. One that is
// not exposed is an error.
func (s Stage) Unexpose(specs ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "UNEXPOSE", Words: slices.Clone(specs)})
}

// Volume records directories that a container keeps outside its layers. What
// later steps write there stays in the image.
func (s Stage) Volume(dirs ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "VOLUME", Words: slices.Clone(dirs)})
}

// RemoveVolume removes volumes, inherited ones too. One that is not there is an error.
func (s Stage) RemoveVolume(dirs ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "UNVOLUME", Words: slices.Clone(dirs)})
}

// Cmd sets the default command of the image, without a shell. Nothing in it is
// expanded. No argument at all sets an empty command.
func (s Stage) Cmd(argv ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "CMD", Words: append([]string{}, argv...)})
}

// CmdShell sets the default command of the image as a line for the stage's
// shell.
func (s Stage) CmdShell(line string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "CMD", Words: []string{line}, Shell: true})
}

// Entrypoint sets the program that the image runs, without a shell. It clears a
// command that a base or a parent stage has set, not one set earlier in the same
// stage. No argument at all removes the entrypoint.
func (s Stage) Entrypoint(argv ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "ENTRYPOINT", Words: slices.Clone(argv)})
}

// EntrypointShell sets the entrypoint as a line for the stage's shell. A command
// given to the container is then ignored.
func (s Stage) EntrypointShell(line string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "ENTRYPOINT", Words: []string{line}, Shell: true})
}

// Shell sets the shell of later Run, Script, CmdShell and EntrypointShell; the
// default is "/bin/sh", "-c". It is stored in the image.
func (s Stage) Shell(argv ...string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "SHELL", Words: slices.Clone(argv)})
}

// StopSignal sets the signal that stops a container: "SIGTERM", "TERM" or a
// number.
func (s Stage) StopSignal(signal string) Stage {
	return s.then(here(), &ConfigOp{Instruction: "STOPSIGNAL", Words: []string{signal}})
}

// Health is how a container engine finds out whether a container works. Exactly
// one of Exec and Shell is the test. Durations are 0 for the engine's default or
// at least one millisecond; Retries is 0 for the default.
type Health struct {
	Exec          []string // program and arguments
	Shell         string   // a line for the stage's shell
	Interval      time.Duration
	Timeout       time.Duration
	StartPeriod   time.Duration
	StartInterval time.Duration
	Retries       int
}

// Healthcheck sets the health check, replacing an inherited one as a whole.
func (s Stage) Healthcheck(h Health) Stage {
	h.Exec = slices.Clone(h.Exec)
	return s.then(here(), &ConfigOp{Instruction: "HEALTHCHECK", Health: &h})
}

// NoHealthcheck switches an inherited health check off.
func (s Stage) NoHealthcheck() Stage {
	return s.then(here(), &ConfigOp{Instruction: "HEALTHCHECK"})
}
