package dockerfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stagewright/stagewright/stage"
)

// run is the call of Run, RunExec or Script.
func (w *goWriter) run(c *piece, pos stage.Position, op *stage.RunOp) string {
	name, command := "Run", ""
	switch {
	case op.Script:
		name, command = "Script", goString(op.Command)
	case len(op.Argv) > 0:
		name, command = "RunExec", "[]string{"+goList(op.Argv)+"}"
	default:
		command = goString(op.Command)
	}
	return callWith(name, []string{command}, w.runOptions(c, pos, op))
}

func (w *goWriter) runOptions(c *piece, pos stage.Position, op *stage.RunOp) []string {
	var options []string
	add := func(format string, a ...any) { options = append(options, fmt.Sprintf("stage."+format, a...)) }
	for _, m := range op.Mounts {
		options = append(options, w.mount(c, pos, m))
	}
	switch op.Network {
	case stage.NetworkDefault:
	case stage.NetworkNone:
		add("WithNetwork(stage.NetworkNone)")
	default:
		add("WithNetwork(stage.NetworkHost)")
	}
	for _, h := range op.Hosts {
		add("ExtraHost(%s, %s)", goString(h.Name), goString(h.IP))
	}
	if op.Timeout != 0 {
		add("Timeout(%s)", w.duration(int64(op.Timeout)))
	}
	if op.Retry != 0 {
		add("Retry(%d)", op.Retry)
	}
	if len(op.Allow) > 0 {
		add("AllowExit(%s)", strings.Trim(strings.ReplaceAll(fmt.Sprint(op.Allow), " ", ", "), "[]"))
	}
	if op.Stdin != nil {
		add("Stdin(%s)", goString(string(op.Stdin)))
	}
	if op.Capture {
		add("Capture()")
	}
	if !op.Limits.IsZero() {
		add("WithLimits(%s)", limits(op.Limits))
	}
	if op.ScriptName != "" {
		add("ScriptPath(%s)", goString(op.ScriptName))
	}
	return append(options, w.cacheOptions(op.Cache)...)
}

// cacheOptions say how the cache is used for a step.
func (w *goWriter) cacheOptions(r stage.CacheRule) []string {
	var options []string
	if r.NoCache {
		options = append(options, "stage.NoCache()")
	}
	if r.MaxAge != 0 {
		options = append(options, "stage.MaxAge("+w.duration(int64(r.MaxAge))+")")
	}
	if r.Key != "" {
		options = append(options, "stage.CacheKey("+goString(r.Key)+")")
	}
	return options
}

func (w *goWriter) duration(d int64) string {
	w.imports["time"] = true
	return goDuration(time.Duration(d))
}

func limits(l stage.Limits) string {
	var fields []string
	if l.Memory != 0 {
		fields = append(fields, "Memory: "+goBytes(l.Memory))
	}
	if l.Pids != 0 {
		fields = append(fields, fmt.Sprintf("Pids: %d", l.Pids))
	}
	if l.CPU != 0 {
		fields = append(fields, "CPU: "+strconv.FormatFloat(l.CPU, 'g', -1, 64))
	}
	if len(l.Ulimits) > 0 {
		list := make([]string, len(l.Ulimits))
		for i, u := range l.Ulimits {
			list[i] = fmt.Sprintf("{Name: %s, Soft: %d, Hard: %d}", goString(u.Name), u.Soft, u.Hard)
		}
		fields = append(fields, "Ulimits: []stage.Ulimit{"+strings.Join(list, ", ")+"}")
	}
	return "stage.Limits{" + strings.Join(fields, ", ") + "}"
}

// mount is the option that makes a mount.
func (w *goWriter) mount(c *piece, pos stage.Position, m stage.Mount) string {
	var name string
	var args []string
	switch m.Type {
	case stage.MountCache:
		name, args = "CacheMount", []string{w.word(c, m.Target)}
		if m.ID != "" {
			args = append(args, "stage.ID("+w.word(c, m.ID)+")")
		}
		if m.From != nil {
			args = append(args, "stage.SeedFrom("+w.source(c, pos, m.From)+", "+w.word(c, m.Path)+")")
		}
	case stage.MountBind:
		name, args = "BindMount", []string{w.source(c, pos, m.From), w.word(c, m.Path), w.word(c, m.Target)}
	case stage.MountTmpfs:
		name, args = "TmpfsMount", []string{w.word(c, m.Target), goBytes(m.Size)}
	case stage.MountSecret:
		name, args = w.secret(c, m)
	case stage.MountSSH:
		id := m.ID
		if id == "default" {
			id = ""
		}
		name, args = "SSHMount", []string{w.word(c, id)}
		if m.Target != "" {
			args = append(args, "stage.At("+w.word(c, m.Target)+")")
		}
	}
	return "stage." + name + "(" + strings.Join(append(args, w.mountOptions(c, m)...), ", ") + ")"
}

// secret chooses between a file and a variable.
func (w *goWriter) secret(c *piece, m stage.Mount) (name string, args []string) {
	name, usual := "SecretMount", "/run/secrets/"+m.ID
	args = []string{w.word(c, m.ID)}
	if m.Env != "" {
		name, usual = "SecretEnv", ""
		args = append(args, w.word(c, m.Env))
	}
	// Without a target a Dockerfile's secret is where SecretMount puts it, when its id is
	// one element of a path.
	implied := m.Target == "" && m.Env == "" && c.parts.Rules != nil && m.ID != "" && !strings.ContainsAny(m.ID, "/$\\\"'`")
	if m.Target != usual && !implied {
		args = append(args, "stage.At("+w.word(c, m.Target)+")")
	}
	return name, args
}

func (w *goWriter) mountOptions(c *piece, m stage.Mount) []string {
	var options []string
	add := func(format string, a ...any) { options = append(options, fmt.Sprintf("stage."+format, a...)) }
	if m.Sharing != "" {
		add("WithSharing(stage.%s)", map[stage.Sharing]string{stage.Shared: "Shared", stage.Private: "Private", stage.Locked: "Locked"}[m.Sharing])
	}
	if m.Writable {
		add("Writable()")
	}
	if m.ReadOnly {
		add("ReadOnly()")
	}
	if m.Mode != 0 {
		add("MountMode(0o%o)", m.Mode)
	}
	if uid, gid, ok := strings.Cut(m.Owner, ":"); ok {
		add("MountOwner(%s, %s)", uid, gid)
	}
	if m.Optional && !slices.ContainsFunc(m.Late, func(s string) bool { return strings.HasPrefix(s, "required=") }) {
		add("OptionalSecret()")
	}
	for _, late := range m.Late {
		name, text, _ := strings.Cut(late, "=")
		add("MountSetting(%s, %s)", goString(name), w.word(c, text))
	}
	return options
}
