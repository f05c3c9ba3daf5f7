package stage

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
)

// Arg declares build arguments. What follows in the stage, and in stages built
// from it, may use them as ${NAME}; Run finds them in its environment. They are
// no part of the image's configuration. The names TARGETPLATFORM, TARGETOS,
// TARGETARCH, TARGETVARIANT and the same with BUILD have values without being
// given any.
func (s Stage) Arg(args ...arg.Arg) Stage {
	return s.then(here(), &ArgOp{Args: slices.Clone(args)})
}

// Env sets an environment variable of the image and of later steps. A variable
// that exists keeps its place. Both name and value are expanded.
func (s Stage) Env(name, value string) Stage {
	return s.then(here(), &ConfigOp{"ENV", func(sc *scope) (string, error) {
		n, v, err := sc.expand2(name, value)
		if err != nil {
			return "", err
		}
		if n == "" || strings.ContainsAny(n, "=\x00") {
			return "", fmt.Errorf("environment variable name %q: a name is not empty and has no '='", n)
		}
		if strings.ContainsRune(v, 0) {
			return "", fmt.Errorf("environment variable %s: the value has a NUL byte", n)
		}
		sc.setEnv(n, v)
		return "ENV " + n + "=" + v, nil
	}})
}

// Label sets one label of the image. Both key and value are expanded.
func (s Stage) Label(key, value string) Stage {
	return s.then(here(), &ConfigOp{"LABEL", func(sc *scope) (string, error) {
		k, v, err := sc.expand2(key, value)
		if err != nil {
			return "", err
		}
		if k == "" {
			return "", errors.New("label with an empty key")
		}
		sc.edit(func(c *image.Config) {
			c.Labels = added(c.Labels, k, v)
		})
		return "LABEL " + k + "=" + v, nil
	}})
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
	return s.then(here(), &ConfigOp{"USER", func(sc *scope) (string, error) {
		u, err := sc.expand(user)
		if err != nil {
			return "", err
		}
		if u == "" {
			return "", errors.New("empty user")
		}
		sc.edit(func(c *image.Config) { c.User = u })
		return "USER " + u, nil
	}})
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
	return s.then(here(), &ConfigOp{"EXPOSE", func(sc *scope) (string, error) {
		specs := make([]string, len(ports))
		for i, p := range ports {
			if n := p.number(); p>>protocolShift > 2 || n < 1 || n > 65535 {
				return "", fmt.Errorf("port %s: want a number between 1 and 65535", p)
			}
			specs[i] = p.String()
		}
		return sc.expose(specs)
	}})
}

// ExposeSpec records ports written as text: "8080", "53/udp", "3000-3005",
// "${PORT}/tcp".
func (s Stage) ExposeSpec(specs ...string) Stage {
	specs = slices.Clone(specs)
	return s.then(here(), &ConfigOp{"EXPOSE", func(sc *scope) (string, error) {
		var all []string
		for _, spec := range specs {
			text, err := sc.expand(spec)
			if err != nil {
				return "", err
			}
			for word := range strings.FieldsSeq(text) {
				ports, err := parsePorts(word)
				if err != nil {
					return "", err
				}
				all = append(all, ports...)
			}
		}
		return sc.expose(all)
	}})
}

func parsePorts(spec string) ([]string, error) {
	numbers, proto, _ := strings.Cut(spec, "/")
	switch proto = strings.ToLower(proto); proto {
	case "":
		proto = "tcp"
	case "tcp", "udp", "sctp":
	default:
		return nil, fmt.Errorf("port %q: protocol %q is not tcp, udp or sctp", spec, proto)
	}
	if strings.Contains(numbers, ":") {
		return nil, fmt.Errorf("port %q: EXPOSE takes container ports only, write %q", spec, numbers[strings.LastIndex(numbers, ":")+1:]+"/"+proto)
	}
	first, last, isRange := strings.Cut(numbers, "-")
	if !isRange {
		last = first
	}
	lo, err1 := strconv.ParseUint(first, 10, 16)
	hi, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || lo == 0 || hi < lo {
		return nil, fmt.Errorf("port %q: want NUMBER or FIRST-LAST between 1 and 65535", spec)
	}
	var ports []string
	for p := lo; p <= hi; p++ {
		ports = append(ports, strconv.FormatUint(p, 10)+"/"+proto)
	}
	return ports, nil
}

func (sc *scope) expose(ports []string) (string, error) {
	if len(ports) == 0 {
		return "", errors.New("no port")
	}
	sc.edit(func(c *image.Config) {
		c.ExposedPorts = added(c.ExposedPorts, ports[0], struct{}{})
		for _, p := range ports[1:] {
			c.ExposedPorts[p] = struct{}{}
		}
	})
	return fmt.Sprintf("EXPOSE %v", ports), nil
}

// added returns a copy of m that has one more entry.
func added[V any](m map[string]V, key string, value V) map[string]V {
	if m = maps.Clone(m); m == nil {
		m = map[string]V{}
	}
	m[key] = value
	return m
}

// Volume records directories that a container keeps outside its layers. What
// later steps write there stays in the image.
func (s Stage) Volume(dirs ...string) Stage {
	dirs = slices.Clone(dirs)
	return s.then(here(), &ConfigOp{"VOLUME", func(sc *scope) (string, error) {
		all := make([]string, len(dirs))
		for i, dir := range dirs {
			text, err := sc.expand(dir)
			if err != nil {
				return "", err
			}
			if all[i] = strings.TrimSpace(text); all[i] == "" {
				return "", errors.New("a volume with an empty path")
			}
		}
		if len(all) == 0 {
			return "", errors.New("no volume")
		}
		sc.edit(func(c *image.Config) {
			c.Volumes = added(c.Volumes, all[0], struct{}{})
			for _, dir := range all[1:] {
				c.Volumes[dir] = struct{}{}
			}
		})
		return fmt.Sprintf("VOLUME %v", all), nil
	}})
}

// Cmd sets the default command of the image, without a shell. Nothing in it is
// expanded. No argument at all sets an empty command.
func (s Stage) Cmd(argv ...string) Stage {
	argv = append([]string{}, argv...)
	return s.then(here(), &ConfigOp{"CMD", func(sc *scope) (string, error) { return sc.cmd(argv) }})
}

// CmdShell sets the default command of the image as a line for the stage's
// shell.
func (s Stage) CmdShell(line string) Stage {
	return s.then(here(), &ConfigOp{"CMD", func(sc *scope) (string, error) { return sc.cmd(sc.shell(line)) }})
}

func (sc *scope) cmd(argv []string) (string, error) {
	sc.edit(func(c *image.Config) { c.Cmd = slices.Clone(argv) })
	sc.cmdSet = true
	return fmt.Sprintf("CMD %q", argv), nil
}

// Entrypoint sets the program that the image runs, without a shell. It clears a
// command that a base or a parent stage has set, not one set earlier in the same
// stage. No argument at all removes the entrypoint.
func (s Stage) Entrypoint(argv ...string) Stage {
	argv = slices.Clone(argv)
	return s.then(here(), &ConfigOp{"ENTRYPOINT", func(sc *scope) (string, error) { return sc.entrypoint(argv) }})
}

// EntrypointShell sets the entrypoint as a line for the stage's shell. A command
// given to the container is then ignored.
func (s Stage) EntrypointShell(line string) Stage {
	return s.then(here(), &ConfigOp{"ENTRYPOINT", func(sc *scope) (string, error) { return sc.entrypoint(sc.shell(line)) }})
}

func (sc *scope) entrypoint(argv []string) (string, error) {
	sc.edit(func(c *image.Config) {
		c.Entrypoint = slices.Clone(argv)
		if !sc.cmdSet {
			c.Cmd = nil
		}
	})
	return fmt.Sprintf("ENTRYPOINT %q", argv), nil
}

// Shell sets the shell of later Run, Script, CmdShell and EntrypointShell; the
// default is "/bin/sh", "-c". It is stored in the image.
func (s Stage) Shell(argv ...string) Stage {
	argv = slices.Clone(argv)
	return s.then(here(), &ConfigOp{"SHELL", func(sc *scope) (string, error) {
		if len(argv) == 0 {
			return "", errors.New("no shell; give a program and its arguments, as in Shell(\"/bin/bash\", \"-c\")")
		}
		sc.edit(func(c *image.Config) { c.Shell = slices.Clone(argv) })
		return fmt.Sprintf("SHELL %v", argv), nil
	}})
}

// StopSignal sets the signal that stops a container: "SIGTERM", "TERM" or a
// number.
func (s Stage) StopSignal(signal string) Stage {
	return s.then(here(), &ConfigOp{"STOPSIGNAL", func(sc *scope) (string, error) {
		sig, err := sc.expand(signal)
		if err != nil {
			return "", err
		}
		if err := checkSignal(sig); err != nil {
			return "", err
		}
		sc.edit(func(c *image.Config) { c.StopSignal = sig })
		return "STOPSIGNAL " + sig, nil
	}})
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
	return s.then(here(), &ConfigOp{"HEALTHCHECK", func(sc *scope) (string, error) {
		check := &image.Healthcheck{
			Interval: h.Interval, Timeout: h.Timeout,
			StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
		}
		switch {
		case len(h.Exec) > 0 && h.Shell == "":
			check.Test = append([]string{"CMD"}, h.Exec...)
		case len(h.Exec) == 0 && h.Shell != "":
			check.Test = []string{"CMD-SHELL", h.Shell}
		default:
			return "", errors.New("a health check has either Exec or Shell")
		}
		for i, d := range []time.Duration{h.Interval, h.Timeout, h.StartPeriod, h.StartInterval} {
			if d != 0 && d < time.Millisecond {
				name := [...]string{"Interval", "Timeout", "StartPeriod", "StartInterval"}[i]
				return "", fmt.Errorf("health check %s %v: want 0 or at least 1ms", name, d)
			}
		}
		if h.Retries < 0 {
			return "", fmt.Errorf("health check retries %d: want 0 or more", h.Retries)
		}
		return sc.healthcheck(check)
	}})
}

// NoHealthcheck switches an inherited health check off.
func (s Stage) NoHealthcheck() Stage {
	return s.then(here(), &ConfigOp{"HEALTHCHECK", func(sc *scope) (string, error) {
		return sc.healthcheck(&image.Healthcheck{Test: []string{"NONE"}})
	}})
}

func (sc *scope) healthcheck(check *image.Healthcheck) (string, error) {
	sc.edit(func(c *image.Config) { c.Healthcheck = check })
	return fmt.Sprintf("HEALTHCHECK %+v", *check), nil
}

func (sc *scope) shell(line string) []string {
	return append(slices.Clone(sc.shellArgv()), line)
}

func (sc *scope) shellArgv() []string {
	if len(sc.cfg.Shell) > 0 {
		return sc.cfg.Shell
	}
	return []string{"/bin/sh", "-c"}
}

// absolute joins a path of an operation to the working directory and keeps a
// trailing slash, which says that the path is a directory.
func (sc *scope) absolute(p string) string {
	dir := strings.HasSuffix(p, "/") || p == "" || p == "." || strings.HasSuffix(p, "/.")
	if !strings.HasPrefix(p, "/") {
		p = path.Join("/", sc.cfg.WorkingDir, p)
	}
	p = path.Clean(p)
	if dir && p != "/" {
		p += "/"
	}
	return p
}
