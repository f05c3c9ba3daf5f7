package dockerfile

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/stagewright/stagewright/stage"
)

// run is a RUN.
func (w *fileWriter) run(c *piece, at stage.Position, written *stage.RunOp, defaults []stage.WrittenOp) string {
	op := withDefaults(written, defaults)
	step := "RUN " + op.Command + strings.Join(op.Argv, " ")
	w.checkRunOptions(c, at, step, op)
	var flags []string
	for _, m := range op.Mounts {
		flags = append(flags, w.mount(c, at, step, m))
	}
	if op.Network != stage.NetworkDefault {
		flags = append(flags, "--network="+string(op.Network))
	}
	w.syntax = w.syntax || len(flags) > 0
	for _, body := range w.runBodies(written) {
		line := strings.TrimRight(strings.Join(slices.Concat([]string{"RUN"}, flags, []string{body}), " "), " ")
		if len(flags) > 0 && !fits(line) || len(flags) > 2 {
			next := " " + string(w.escape) + "\n    "
			line = "RUN " + strings.Join(append(flags, body), next)
		}
		if cmd, _ := w.read(line); w.isRun(cmd, written) {
			w.syntax = w.syntax || strings.HasPrefix(body, "<<")
			return line + "\n"
		}
	}
	w.refuse(c, at, step, "the text of the command", "it cannot be quoted so that a Dockerfile has it unchanged", "put it into a script in the context")
	return ""
}

// withDefaults is a Run step with the options of RunDefaults.
func withDefaults(op *stage.RunOp, defaults []stage.WrittenOp) *stage.RunOp {
	merged := *op
	for _, def := range slices.Backward(defaults) {
		d := runDefaults(def.Op.(*stage.RunDefaultsOp))
		var mounts []stage.Mount
		for _, m := range d.Mounts {
			if !slices.ContainsFunc(merged.Mounts, func(own stage.Mount) bool { return own.Target != "" && own.Target == m.Target }) {
				mounts = append(mounts, m)
			}
		}
		merged.Mounts = append(mounts, merged.Mounts...)
		merged.Hosts = append(d.Hosts, merged.Hosts...)
		merged.Allow = append(d.Allow, merged.Allow...)
		if merged.Network == "" {
			merged.Network = d.Network
		}
		if merged.Limits.IsZero() {
			merged.Limits = d.Limits
		}
		if merged.Stdin == nil {
			merged.Stdin = d.Stdin
		}
		merged.Timeout, merged.Retry = max(merged.Timeout, d.Timeout), max(merged.Retry, d.Retry)
		merged.Capture = merged.Capture || d.Capture
		merged.Cache = merged.Cache.Or(d.Cache)
	}
	return &merged
}

// refusal is an option that a Dockerfile has no flag for, and what to do instead.
type refusal struct {
	name, fix string
	set       bool
}

// cacheRefusals are the options of the cache that are set.
func cacheRefusals(r stage.CacheRule) []refusal {
	return slices.DeleteFunc([]refusal{
		{"NoCache", "leave it out, and name the stage when you build: docker build --no-cache-filter", r.NoCache},
		{"MaxAge", "leave it out: it changes nothing in the image", r.MaxAge != 0},
		{"CacheKey", "leave it out, or use the value of an ARG in the command", r.Key != ""},
	}, func(o refusal) bool { return !o.set })
}

func (w *fileWriter) checkRunOptions(c *piece, at stage.Position, step string, op *stage.RunOp) {
	for _, o := range append([]refusal{
		{"ExtraHost", "give it to the build: docker build --add-host", len(op.Hosts) > 0},
		{"Timeout", "use the command timeout", op.Timeout != 0},
		{"Retry", "repeat the command in the shell", op.Retry != 0},
		{"AllowExit", "write \"|| true\" behind the command", len(op.Allow) > 0},
		{"Stdin", "use a here-document of the shell", op.Stdin != nil},
		{"Capture", "leave it out: it changes nothing in the image", op.Capture},
		{"WithLimits", "use ulimit in the shell", !op.Limits.IsZero()},
	}, cacheRefusals(op.Cache)...) {
		if o.set {
			w.refuse(c, at, step, "stage."+o.name, "RUN has no flag for it", o.fix)
		}
	}
	if op.ScriptName != "" && path.Dir(op.ScriptName) != scripts {
		w.refuse(c, at, step, "stage.ScriptPath", "the scripts of a Dockerfile are in "+scripts, "use "+path.Join(scripts, "NAME"))
	}
}

// runBodies are the spellings of a command, the plainest first.
func (w *fileWriter) runBodies(op *stage.RunOp) []string {
	if len(op.Argv) > 0 {
		return []string{jsonList(op.Argv)}
	}
	var bodies []string
	text := op.Command
	script := op.Script && strings.HasPrefix(text, "#!")
	if op.Script && !script {
		text = "set -e\n" + text
	}
	if !script {
		if parts := breakText(text); len(text) > textWidth && len(parts) > 1 {
			bodies = append(bodies, w.continued(parts))
		}
		bodies = append(bodies, text)
	}
	if strings.HasSuffix(text, "\n") {
		name := delimiter(text)
		if op.ScriptName != "" {
			name = path.Base(op.ScriptName)
		}
		bodies = append(bodies, "<<"+name+"\n"+text+name)
	}
	if step := w.steps[op]; step != nil && !script {
		bodies = append(bodies, jsonList(step.Op.(*stage.RunOp).Argv))
	}
	return bodies
}

// continued is a command on several lines, which are joined when they are read.
func (w *fileWriter) continued(parts []string) string {
	return strings.Join(parts, string(w.escape)+"\n")
}

// isRun reports whether an instruction runs what an operation does.
func (w *fileWriter) isRun(cmd any, op *stage.RunOp) bool {
	c, ok := cmd.(*instructions.RunCommand)
	if !ok {
		return false
	}
	if !c.PrependShell && len(op.Argv) > 0 {
		return slices.Equal(c.CmdLine, op.Argv)
	}
	if !c.PrependShell {
		step := w.steps[op]
		return step != nil && slices.Equal(c.CmdLine, step.Op.(*stage.RunOp).Argv)
	}
	text, script := shellText(c)
	want := op.Command
	if op.Script && strings.HasPrefix(want, "#!") {
		return text == want && (script == op.ScriptName || op.ScriptName == "" && script != "")
	}
	if op.Script {
		want = "set -e\n" + want
	}
	return text == want && script == ""
}

// mount is a flag --mount.
func (w *fileWriter) mount(c *piece, at stage.Position, step string, m stage.Mount) string {
	want := &mountText{Mount: stage.Mount{Type: m.Type}}
	fields := []string{"type=" + string(m.Type)}
	add := func(name, text string) string {
		if text == "" {
			return ""
		}
		word := w.word(c, at, step, text)
		fields = append(fields, name+"="+word)
		return word
	}
	setting := func(name, value string) {
		fields = append(fields, name+"="+value)
		want.settings = append(want.settings, name+"="+value)
	}
	if id := m.ID; m.Type != stage.MountSSH || id != "default" {
		want.ID = add("id", id)
	}
	if _, context := m.From.(stage.ContextSource); m.From != nil && !context {
		if name, ok := w.fromName(c, at, step, m.From); ok {
			fields = append(fields, "from="+name)
			want.from = name
		}
	}
	if m.Path != "." {
		want.Path = add("source", m.Path)
	}
	if m.Type != stage.MountSecret || m.Target != "/run/secrets/"+m.ID || m.Env != "" {
		want.Target = add("target", m.Target)
	}
	want.Env = add("env", m.Env)
	if m.Sharing != "" {
		setting("sharing", string(m.Sharing))
	}
	if m.Size != 0 {
		setting("size", fmt.Sprint(m.Size))
	}
	if m.Mode != 0 {
		setting("mode", fmt.Sprintf("%04o", m.Mode))
	}
	if uid, gid, ok := strings.Cut(m.Owner, ":"); ok {
		setting("uid", uid)
		setting("gid", gid)
	}
	for _, flag := range []struct {
		name string
		on   bool
	}{{"rw", m.Writable}, {"ro", m.ReadOnly}} {
		if flag.on {
			fields = append(fields, flag.name)
			want.settings = append(want.settings, flag.name+"=true")
		}
	}
	secret := m.Type == stage.MountSecret || m.Type == stage.MountSSH
	late := func(s string) bool { return strings.HasPrefix(s, "required=") }
	if secret && !m.Optional && !slices.ContainsFunc(m.Late, late) {
		fields = append(fields, "required")
		want.settings = append(want.settings, "required=true")
	}
	for _, s := range m.Late {
		name, text, _ := strings.Cut(s, "=")
		setting(name, w.word(c, at, step, text))
	}
	return w.mountFlag(c, at, step, fields, want)
}

// mountFlag joins the fields, which are separated by commas.
func (w *fileWriter) mountFlag(c *piece, at stage.Position, step string, fields []string, want *mountText) string {
	for i, field := range fields {
		if strings.ContainsAny(field, ",\"") {
			fields[i] = `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
		}
	}
	flag := "--mount=" + w.flag(strings.Join(fields, ","))
	_, node := w.read("RUN " + flag + " true")
	if node != nil {
		if texts := flags(node, "mount"); len(texts) == 1 {
			got, err := parseMount(texts[0])
			if err == nil {
				got.Optional, want.Optional = false, false
				if got.Type == stage.MountSSH && got.ID == "default" && want.ID == "" {
					got.ID = ""
				}
				if reflect.DeepEqual(got, want) {
					return flag
				}
			}
		}
	}
	w.refuse(c, at, step, "the mount "+strings.Join(fields, ","), "it cannot be quoted so that a Dockerfile has it unchanged", "")
	return flag
}
