package stage

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/arg"
)

func (c *compiler) resolveRun(l *link, op *RunOp, st *state, step *Step) (Op, error) {
	run := *op.withDefaults(slices.Concat(c.opts.Run, st.defaults))
	run.Compatible = st.rules != nil
	switch {
	case op.Script && op.ScriptName != "" && st.rules != nil:
		run.Argv = append(slices.Clone(st.shellArgv()), op.ScriptName) // the shell starts the script, as BuildKit has it
	case op.Script && strings.HasPrefix(op.Command, "#!"):
		run.Argv = nil // the executor gives the script to its interpreter as a file
	case op.Script:
		run.Argv = append(slices.Clone(st.shellArgv()), "set -e\n"+op.Command)
	case op.Command != "" || op.Argv == nil:
		run.Argv = append(slices.Clone(st.shellArgv()), op.Command)
	}
	if slices.ContainsFunc(run.Argv, func(a string) bool { return strings.ContainsRune(a, 0) }) {
		return nil, errors.New("an argument has a NUL byte")
	}
	switch run.Network {
	case NetworkDefault, NetworkHost, NetworkNone:
	default:
		return nil, fmt.Errorf("network %q; want stage.NetworkDefault, NetworkHost or NetworkNone", run.Network)
	}
	if err := checkRun(&run); err != nil {
		return nil, err
	}
	run.Env, run.Args = st.environment()
	run.Proxy = c.proxy
	run.Dir, run.User = st.cfg.WorkingDir, st.cfg.User
	if run.Dir == "" {
		run.Dir = "/"
	}
	run.Dir = path.Clean(run.Dir)
	run.Mounts = slices.Clone(run.Mounts)
	agents := 0
	for i := range run.Mounts {
		if m := &run.Mounts[i]; m.Type == MountSSH {
			if m.Target == "" {
				m.Target = "/run/buildkit/ssh_agent." + strconv.Itoa(agents)
			}
			agents++
		}
		if err := c.resolveMount(&run.Mounts[i], l, st, step); err != nil {
			return nil, err
		}
	}
	step.Text = "RUN " + runText(&run)
	return &run, nil
}

// checkRun finds what is wrong with the options of a Run step.
func checkRun(op *RunOp) error {
	switch {
	case op.Timeout < 0:
		return fmt.Errorf("timeout %v is negative", op.Timeout)
	case op.Retry < 0:
		return fmt.Errorf("%d retries; want 0 or more", op.Retry)
	case op.Limits.Memory < 0 || op.Limits.Pids < 0 || op.Limits.CPU < 0:
		return errors.New("a negative limit; 0 is no limit")
	case op.ScriptName != "" && !path.IsAbs(op.ScriptName):
		return fmt.Errorf("script path %q is not absolute", op.ScriptName)
	}
	for _, code := range op.Allow {
		if code < 0 || code > 255 {
			return fmt.Errorf("exit code %d; want 0 to 255", code)
		}
	}
	for _, h := range op.Hosts {
		if _, err := netip.ParseAddr(h.IP); err != nil {
			return fmt.Errorf("extra host %s: %q is no IP address", h.Name, h.IP)
		}
		if h.Name == "" || strings.ContainsAny(h.Name, " \t\r\n#\x00") {
			return fmt.Errorf("extra host name %q: want one word", h.Name)
		}
	}
	return nil
}

// proxyArgs returns the proxy arguments that were given. One that an ARG declares is also
// among the variables, and there part of key and history.
func proxyArgs(values arg.Values) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if isProxy(name) {
			list = append(list, name+"="+values[name])
		}
	}
	return slices.Clip(list)
}

// runText is the command as Docker's history shows it: the arguments in scope,
// then the command line.
func runText(op *RunOp) string {
	command := strings.Join(op.Argv, " ")
	if command == "" || op.Script && !op.Compatible {
		command = op.Command
	}
	if len(op.Args) == 0 {
		return command
	}
	return "|" + strconv.Itoa(len(op.Args)) + " " + strings.Join(op.Args, " ") + " " + command
}

func (c *compiler) resolveMount(m *Mount, l *link, st *state, step *Step) error {
	what := string(m.Type) + " mount"
	target, err := st.expand(m.Target)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if m.ID, err = st.expand(m.ID); err != nil {
		return fmt.Errorf("%s: id: %w", what, err)
	}
	if m.Env, err = st.expand(m.Env); err != nil {
		return fmt.Errorf("%s: env: %w", what, err)
	}
	if err := m.setLate(st); err != nil {
		return err
	}
	if m.Target = target; st.rules != nil {
		m.dockerDefaults(target)
	}
	if m.Type != MountSecret || m.Env == "" || m.Target != "" {
		if m.Target == "" && st.rules == nil {
			return fmt.Errorf("%s: no target", what)
		}
		m.Target = path.Clean(st.absolute(m.Target))
		if m.Target == "/" {
			return fmt.Errorf("%s: the target cannot be /", what)
		}
	}
	switch m.Type {
	case MountCache:
		if m.ID == "" {
			m.ID = m.Target
		}
		if m.From != nil {
			if err := c.resolveMountSource(m, what, l, st, step); err != nil {
				return err
			}
		}
		switch m.Sharing {
		case "":
			m.Sharing = Shared
		case Shared, Private, Locked:
		default:
			return fmt.Errorf("%s %s: sharing %q; want stage.Shared, Private or Locked", what, m.Target, m.Sharing)
		}
	case MountTmpfs:
		if m.Size < 0 {
			return fmt.Errorf("%s %s: size %d is negative", what, m.Target, m.Size)
		}
	case MountSecret, MountSSH:
		if m.ID == "" {
			return fmt.Errorf("%s: no id", what)
		}
	case MountBind:
		if m.From == nil {
			return fmt.Errorf("%s %s: no source; give a Stage, stage.Image, stage.Dir, stage.FS or stage.Context", what, m.Target)
		}
		if err := c.resolveMountSource(m, what, l, st, step); err != nil {
			return err
		}
	}
	if m.Mode > 0o7777 {
		return fmt.Errorf("%s %s: mode %o is more than 7777", what, m.Target, m.Mode)
	}
	return nil
}

func (c *compiler) resolveMountSource(m *Mount, what string, l *link, st *state, step *Step) error {
	p, err := st.expand(m.Path)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if m.Path, err = st.sourcePath(m.From, p); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	m.From, err = c.resolveSource(m.From, l, st, step)
	return err
}
