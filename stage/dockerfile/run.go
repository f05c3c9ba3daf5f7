package dockerfile

import (
	"encoding/csv"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagewright/stagewright/stage"
)

// scripts is where a here-document that begins with "#!" is for the time of its step.
const scripts = "/dev/pipes"

// run adds a RUN to stage i.
func (b *builder) run(i int, s stage.Stage, l line, c *instructions.RunCommand) stage.Stage {
	var options []stage.RunOption
	for _, text := range flags(l.node, "mount") {
		m, ok := b.mount(i, l, text)
		if !ok {
			return s
		}
		options = append(options, m)
	}
	if n := stage.Network(instructions.GetNetwork(c)); n != "default" {
		options = append(options, stage.WithNetwork(n))
	}
	if !c.PrependShell {
		return s.RunExec(c.CmdLine, options...)
	}
	command, script := shellText(c)
	if script != "" {
		return s.Script(command, append(options, stage.ScriptPath(script))...)
	}
	return s.Run(command, options...)
}

// shellText is what the shell gets of a RUN, or the script and where it is put.
func shellText(c *instructions.RunCommand) (text, script string) {
	text = strings.Join(c.CmdLine, " ")
	if len(c.Files) == 0 {
		return text, ""
	}
	if parser.MustParseHeredoc(text) == nil {
		// Something beside the documents: the shell reads them itself.
		for _, f := range c.Files {
			text += "\n" + f.Data + f.Name
		}
		return text, ""
	}
	text = c.Files[0].Data
	if c.Files[0].Chomp {
		text = parser.ChompHeredocContent(text)
	}
	if strings.HasPrefix(text, "#!") {
		return text, path.Join(scripts, c.Files[0].Name)
	}
	return text, ""
}

// flags are the values of a flag that may be given several times.
func flags(node *parser.Node, name string) []string {
	var list []string
	for _, f := range node.Flags {
		if value, ok := strings.CutPrefix(f, "--"+name+"="); ok {
			list = append(list, value)
		}
	}
	return list
}

// checkRun checks the mounts of a RUN as far as that can be done without the values of
// variables. Other instructions have none.
func (f *File) checkRun(node *parser.Node, p *problems) {
	for _, text := range flags(node, "mount") {
		if _, err := parseMount(text); err != nil {
			err.report(f, node, text, p)
		}
	}
}

// mountText is the value of --mount: a mount but for its source.
type mountText struct {
	stage.Mount
	from     string
	settings []string // "mode=0700", as [stage.MountSetting] takes them
	late     bool     // its type is a variable
}

// mountError is what is wrong with the value of --mount.
type mountError struct {
	word string // where
	err  error
	fix  string
}

func (e *mountError) report(f *File, node *parser.Node, text string, p *problems) {
	at := f.src.find(node, text)
	if i := strings.Index(text, e.word); e.word != "" && i >= 0 && at != f.src.at(node.StartLine) {
		at.Column += i
	}
	fix := e.fix
	if u, ok := e.err.(*UnknownError); ok {
		fix = u.fix()
	}
	p.add(at, shortened(node), e.err, fix)
}

// mountKeys are the options of --mount, in Docker's spellings.
var mountKeys = []string{"type", "from", "source", "src", "target", "dst", "destination", "readonly", "ro", "readwrite", "rw", "required", "size", "id", "sharing", "mode", "uid", "gid", "env"}

// parseMount reads the value of --mount: options separated by commas, each NAME=VALUE or
// a lone name.
func parseMount(text string) (*mountText, *mountError) {
	wrong := func(word, msg, fix string) (*mountText, *mountError) {
		return nil, &mountError{word, &SyntaxError{Instruction: "RUN", Msg: msg}, fix}
	}
	r := csv.NewReader(strings.NewReader(text))
	fields, err := r.Read()
	if err != nil && text != "" {
		return wrong("", "--mount="+text+": "+err.Error(), `quote a whole option that holds a comma: --mount=type=bind,"source=a,b"`)
	}
	m := &mountText{Mount: stage.Mount{Type: stage.MountBind, Optional: true}}
	for _, field := range fields {
		name, value, hasValue := strings.Cut(field, "=")
		key := strings.ToLower(name)
		if !slices.Contains(mountKeys, key) {
			return nil, &mountError{field, unknown("option of --mount", name, mountKeys), ""}
		}
		if !hasValue {
			switch key {
			case "ro", "readonly", "rw", "readwrite", "required":
				value = "true"
			default:
				return wrong(field, "the option "+name+" of --mount has no value", "write "+name+"=VALUE")
			}
		}
		if e := m.set(key, field, value); e != nil {
			return nil, e
		}
	}
	return m, m.check()
}

// set takes one option. The type must come before the options that only some types have,
// as in BuildKit.
func (m *mountText) set(key, field, value string) *mountError {
	secret := m.Type == stage.MountSecret || m.Type == stage.MountSSH
	switch key {
	case "type":
		if strings.Contains(value, "$") {
			m.settings = append(m.settings, "type="+value)
			m.late = true
			return nil
		}
		types := []string{"bind", "cache", "tmpfs", "secret", "ssh"}
		if !slices.Contains(types, strings.ToLower(value)) {
			return &mountError{field, unknown("type of mount", value, types), ""}
		}
		m.Type = stage.MountType(strings.ToLower(value))
		return nil
	case "from":
		if i := strings.IndexByte(value, '$'); i >= 0 && i != len(value)-1 {
			return &mountError{field, &SyntaxError{Instruction: "RUN", Msg: field + " has a variable, which is not expanded there"},
				"name the stage in between: FROM " + value + " AS files, and from=files"}
		}
		m.from = value
	case "source", "src":
		m.Path = value
	case "target", "dst", "destination":
		m.Target = value
	case "id":
		m.ID = value
	case "env":
		m.Env = value
	case "ro", "readonly":
		m.settings = append(m.settings, key+"="+value)
	case "rw", "readwrite":
		m.settings = append(m.settings, key+"="+value)
	case "required":
		if !secret && !m.late {
			return m.notOf(key, field, "a secret or ssh mount; write type= before it")
		}
		m.settings = append(m.settings, "required="+value)
	case "size":
		if m.Type != stage.MountTmpfs && !m.late {
			return m.notOf(key, field, "a tmpfs mount; write type=tmpfs before it")
		}
		m.settings = append(m.settings, "size="+value)
	default: // sharing, mode, uid, gid
		m.settings = append(m.settings, key+"="+value)
	}
	return nil
}

func (m *mountText) notOf(key, field, of string) *mountError {
	return &mountError{field, &SyntaxError{Instruction: "RUN", Msg: "a " + string(m.Type) + " mount has no " + key}, key + " belongs to " + of}
}

// check finds options that do not go together.
func (m *mountText) check() *mountError {
	wrong := func(word, msg, fix string) *mountError {
		return &mountError{word, &SyntaxError{Instruction: "RUN", Msg: msg}, fix}
	}
	if m.late {
		return nil
	}
	for _, s := range m.settings {
		key, _, _ := strings.Cut(s, "=")
		switch {
		case key == "sharing" && m.Type != stage.MountCache:
			return m.notOf(key, "sharing", "a cache mount")
		case (key == "mode" || key == "uid" || key == "gid") && (m.Type == stage.MountBind || m.Type == stage.MountTmpfs):
			return m.notOf(key, key+"=", "a cache, secret or ssh mount")
		}
	}
	switch m.Type {
	case stage.MountSecret:
		switch {
		case m.from != "":
			return wrong("from=", "a secret mount has no from", "remove it")
		case m.Path == "" && m.Target == "" && m.ID == "":
			return wrong("", "the secret has no id", "write --mount=type=secret,id=NAME")
		case m.Path != "" && m.ID != "":
			return wrong("", "the secret has both source and id, which are the same", "remove source")
		}
		m.ID, m.Path = m.ID+m.Path, ""
	case stage.MountSSH:
		if m.Path != "" {
			return wrong("source", "an ssh mount has no source", "remove it")
		}
		if m.ID == "" {
			m.ID = "default"
		}
	}
	return nil
}

// mount is a --mount as an option of a RUN in stage i.
func (b *builder) mount(i int, l line, text string) (stage.RunOption, bool) {
	m, e := parseMount(text)
	if e != nil {
		e.report(b.file, l.node, text, &b.problems)
		return nil, false
	}
	mount := m.Mount
	if m.Type == stage.MountBind || m.Type == stage.MountCache {
		if m.from != "" {
			from, ok := b.source(i, l, m.from, "--mount from", false)
			if !ok {
				return nil, false
			}
			mount.From = from
		} else if m.Type == stage.MountBind && !m.late {
			mount.From = stage.Context()
		}
	}
	if mount.Type != stage.MountSecret && mount.Type != stage.MountSSH && !m.late {
		mount.Optional = false
	}
	for _, setting := range m.settings {
		key, value, _ := strings.Cut(setting, "=")
		stage.MountSetting(key, value)(&mount)
	}
	return stage.RunFunc(func(op *stage.RunOp) { op.Mounts = append(slices.Clip(op.Mounts), mount) }), true
}
