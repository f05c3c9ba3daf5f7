package stage

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stagewright/stagewright/image"
)

// apply makes the change to a scope and returns its text for the history.
func (op *ConfigOp) apply(sc *scope) (string, error) {
	switch op.Instruction {
	case "ENV":
		return sc.applyPairs("ENV", op.Words, sc.checkEnv, sc.setEnv)
	case "LABEL":
		return sc.applyPairs("LABEL", op.Words, checkLabel, func(k, v string) {
			sc.edit(func(c *image.Config) { c.Labels = added(c.Labels, k, v) })
		})
	case "USER":
		return sc.applyUser(op.Words[0])
	case "EXPOSE":
		return sc.applyExpose(op.Words)
	case "VOLUME":
		return sc.applyVolume(op.Words)
	case "CMD":
		return sc.applyCmd(op)
	case "ENTRYPOINT":
		return sc.applyEntrypoint(op)
	case "SHELL":
		if len(op.Words) == 0 {
			return "", errors.New("no shell; give a program and its arguments, as in Shell(\"/bin/bash\", \"-c\")")
		}
		sc.edit(func(c *image.Config) { c.Shell = slices.Clone(op.Words) })
		return fmt.Sprintf("SHELL %v", op.Words), nil
	case "STOPSIGNAL":
		return sc.applyStopSignal(op.Words[0])
	case "HEALTHCHECK":
		return sc.applyHealth(op.Health)
	case "ONBUILD":
		return sc.applyOnBuild(op.Words[0])
	case "MAINTAINER":
		sc.author = op.Words[0]
		return "MAINTAINER " + op.Words[0], nil
	case "UNSETENV", "UNSETLABEL", "UNEXPOSE", "UNVOLUME":
		return sc.applyUnset(op)
	}
	return "", fmt.Errorf("no instruction %q", op.Instruction)
}

// applyPairs expands names and values, all of them before the first is set.
func (sc *scope) applyPairs(instruction string, words []string, check func(name, value string) error, set func(name, value string)) (string, error) {
	if len(words)%2 != 0 {
		return "", fmt.Errorf("%q has no value; names and values come in pairs", words[len(words)-1])
	}
	expanded, err := sc.expandAll(words)
	if err != nil {
		return "", err
	}
	text := instruction
	for pair := range slices.Chunk(expanded, 2) {
		if err := check(pair[0], pair[1]); err != nil {
			return "", err
		}
		text += " " + pair[0] + "=" + pair[1]
	}
	for pair := range slices.Chunk(expanded, 2) {
		set(pair[0], pair[1])
	}
	return text, nil
}

func (sc *scope) checkEnv(name, value string) error {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		return fmt.Errorf("environment variable name %q: a name is not empty and has no '='", name)
	}
	if strings.ContainsRune(value, 0) {
		return fmt.Errorf("environment variable %s: the value has a NUL byte", name)
	}
	return nil
}

func checkLabel(key, _ string) error {
	if key == "" {
		return errors.New("label with an empty key")
	}
	return nil
}

func (sc *scope) applyUser(user string) (string, error) {
	u, err := sc.expand(user)
	if err != nil {
		return "", err
	}
	if u == "" && sc.rules == nil {
		return "", errors.New("empty user")
	}
	sc.edit(func(c *image.Config) { c.User = u })
	return "USER " + u, nil
}

func (sc *scope) applyExpose(specs []string) (string, error) {
	ports, err := sc.ports(specs)
	if err != nil {
		return "", err
	}
	if len(ports) == 0 && sc.rules == nil {
		return "", errors.New("no port")
	}
	sc.edit(func(c *image.Config) {
		c.ExposedPorts = addedSet(c.ExposedPorts, ports)
	})
	return fmt.Sprintf("EXPOSE %v", ports), nil
}

// ports expands texts and splits them into words, each a port or a range.
func (sc *scope) ports(specs []string) ([]string, error) {
	var all []string
	for _, spec := range specs {
		words, err := sc.expandWords(spec)
		if err != nil {
			return nil, err
		}
		for _, word := range words {
			ports, err := parsePorts(word, sc.rules)
			if err != nil {
				return nil, err
			}
			all = append(all, ports...)
		}
	}
	return all, nil
}

func (sc *scope) applyVolume(dirs []string) (string, error) {
	all, err := sc.expandAll(dirs)
	if err != nil {
		return "", err
	}
	for i := range all {
		if sc.rules == nil {
			all[i] = strings.TrimSpace(all[i])
		}
		if all[i] == "" {
			return "", errors.New("a volume with an empty path")
		}
	}
	if len(all) == 0 {
		return "", errors.New("no volume")
	}
	sc.edit(func(c *image.Config) { c.Volumes = addedSet(c.Volumes, all) })
	return fmt.Sprintf("VOLUME %v", all), nil
}

func (sc *scope) applyCmd(op *ConfigOp) (string, error) {
	argv := slices.Clone(op.Words)
	if op.Shell {
		argv = sc.shell(op.Words[0])
	}
	sc.edit(func(c *image.Config) {
		c.Cmd = argv
		c.ArgsEscaped = sc.rules != nil || c.ArgsEscaped // as BuildKit sets it
	})
	sc.cmdSet = true
	return fmt.Sprintf("CMD %q", argv), nil
}

func (sc *scope) applyEntrypoint(op *ConfigOp) (string, error) {
	argv := slices.Clone(op.Words)
	if op.Shell {
		argv = sc.shell(op.Words[0])
	}
	sc.edit(func(c *image.Config) {
		c.Entrypoint = argv
		if len(argv) == 0 {
			c.Entrypoint = nil
		}
		if !sc.cmdSet {
			c.Cmd = nil
		}
	})
	return fmt.Sprintf("ENTRYPOINT %q", argv), nil
}

func (sc *scope) applyStopSignal(signal string) (string, error) {
	sig, err := sc.expand(signal)
	if err != nil {
		return "", err
	}
	if err := checkSignal(sig); err != nil {
		return "", err
	}
	sc.edit(func(c *image.Config) { c.StopSignal = sig })
	return "STOPSIGNAL " + sig, nil
}

func (sc *scope) applyHealth(h *Health) (string, error) {
	if h == nil {
		return sc.setHealth(&image.Healthcheck{Test: []string{"NONE"}})
	}
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
	return sc.setHealth(check)
}

func (sc *scope) setHealth(check *image.Healthcheck) (string, error) {
	sc.edit(func(c *image.Config) { c.Healthcheck = check })
	return fmt.Sprintf("HEALTHCHECK %+v", *check), nil
}

func (sc *scope) applyOnBuild(instruction string) (string, error) {
	word, _, _ := strings.Cut(strings.TrimSpace(instruction), " ")
	switch strings.ToUpper(word) {
	case "":
		return "", errors.New("no instruction to run in later builds")
	case "ONBUILD", "FROM", "MAINTAINER":
		return "", fmt.Errorf("%s cannot be an ONBUILD trigger", strings.ToUpper(word))
	}
	sc.edit(func(c *image.Config) { c.OnBuild = append(slices.Clip(c.OnBuild), instruction) })
	return "ONBUILD " + instruction, nil
}

func (sc *scope) applyUnset(op *ConfigOp) (string, error) {
	names, err := sc.expandAll(op.Words)
	if err == nil && op.Instruction == "UNEXPOSE" {
		names, err = sc.ports(op.Words)
	}
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", errors.New("nothing to remove; give a name")
	}
	for _, name := range names {
		if err := sc.unset(op.Instruction, name); err != nil {
			return "", err
		}
	}
	return op.Instruction + " " + strings.Join(names, " "), nil
}

func (sc *scope) unset(instruction, name string) error {
	var known []string
	switch instruction {
	case "UNSETENV":
		for _, e := range sc.env.list {
			n, _, _ := strings.Cut(e, "=")
			known = append(known, n)
		}
	case "UNSETLABEL":
		known = slices.Sorted(maps.Keys(sc.cfg.Labels))
	case "UNEXPOSE":
		known = slices.Sorted(maps.Keys(sc.cfg.ExposedPorts))
	case "UNVOLUME":
		known = slices.Sorted(maps.Keys(sc.cfg.Volumes))
	}
	if !slices.Contains(known, name) {
		if near := nearest(name, known); near != "" {
			return fmt.Errorf("%q is not set here (did you mean %q?)", name, near)
		}
		return fmt.Errorf("%q is not set here", name)
	}
	if instruction == "UNSETENV" {
		sc.unsetEnv(name)
		return nil
	}
	sc.edit(func(c *image.Config) {
		switch instruction {
		case "UNSETLABEL":
			c.Labels = without(c.Labels, name)
		case "UNEXPOSE":
			c.ExposedPorts = without(c.ExposedPorts, name)
		case "UNVOLUME":
			c.Volumes = without(c.Volumes, name)
		}
	})
	return nil
}

// added returns a copy of m that has one more entry.
func added[V any](m map[string]V, key string, value V) map[string]V {
	if m = maps.Clone(m); m == nil {
		m = map[string]V{}
	}
	m[key] = value
	return m
}

// addedSet returns a copy of m that has the keys too.
func addedSet(m map[string]struct{}, keys []string) map[string]struct{} {
	if len(keys) == 0 {
		return m
	}
	m = added(m, keys[0], struct{}{})
	for _, key := range keys[1:] {
		m[key] = struct{}{}
	}
	return m
}

// without returns a copy of m that lacks one entry; nil when none is left.
func without[V any](m map[string]V, key string) map[string]V {
	m = maps.Clone(m)
	delete(m, key)
	if len(m) == 0 {
		return nil
	}
	return m
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
