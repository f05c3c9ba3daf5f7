package dockerfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/stage"
)

// expression is a piece as a chain of calls, one a line.
func (w *goWriter) expression(c *piece) string {
	begin := ""
	if c.below != nil {
		begin = c.below.name
	} else {
		begin = w.beginning(c)
	}
	return begin + w.chain(c, slices.Concat(w.inlined(c), c.ops))
}

// chain is the calls of operations, each after a dot. What a group holds is inside of the
// call of Layer.
func (w *goWriter) chain(c *piece, ops []stage.WrittenOp) string {
	if len(ops) == 0 {
		return ""
	}
	var calls []string
	for i := 0; i < len(ops); i++ {
		// Of the groups that begin here the outermost is written first.
		end := i
		for j := i; j < len(ops); j++ {
			if group := ops[j].Group; group > 0 && j-group == i && !w.squashes(c, ops[j]) {
				end = j
			}
		}
		if end == i {
			calls = append(calls, w.call(c, ops[i]))
			continue
		}
		inside := fmt.Sprintf("func(s stage.Stage) stage.Stage {\nreturn s%s\n}", w.chain(c, ops[i:end]))
		args := []string{inside}
		if text := ops[end].Op.(*stage.LayerOp).Text; text != "" {
			args = append(args, goString(text))
		}
		calls = append(calls, call("Layer", args...))
		i = end
	}
	return ".\n" + strings.Join(calls, ".\n")
}

// inlined are the operations of a base's ONBUILD instructions that are written into the
// stage itself: in Go no trigger knows the stages by name, so those that read another
// stage are done here.
func (w *goWriter) inlined(c *piece) []stage.WrittenOp {
	if c.below != nil || len(w.program.triggers[c.end.beginning]) == 0 {
		return nil
	}
	ops := w.program.graph.Triggered(c.value)
	for _, op := range ops {
		if _, ok := op.Op.(*stage.ArgOp); ok {
			w.refuse(c, op.Pos, "ONBUILD", "a trigger that declares arguments beside one that reads another stage", "in Go no trigger knows the stages by name", "write what they do into the stage, with stage.IgnoreOnBuild")
			return nil
		}
	}
	return ops
}

// squashes reports whether a group holds all that its stage has before it.
func (w *goWriter) squashes(c *piece, op stage.WrittenOp) bool {
	at := slices.IndexFunc(c.parts.Ops, func(o stage.WrittenOp) bool { return o.Op == op.Op })
	return op.Group == at && op.Op.(*stage.LayerOp).Text == ""
}

// call is the call of a method or a function in one line.
func call(name string, args ...string) string { return name + "(" + strings.Join(args, ", ") + ")" }

// callWith is a call with options: each on its own line when one line is too long.
func callWith(name string, args, options []string) string {
	line := call(name, slices.Concat(args, options)...)
	if len(options) == 0 || fits(line) {
		return line
	}
	first := ""
	if len(args) > 0 {
		first = strings.Join(args, ", ") + ",\n"
	}
	return name + "(" + first + strings.Join(options, ",\n") + ")"
}

// fits reports whether a text is short enough for a line, up to its own first line end.
func fits(text string) bool {
	first, _, _ := strings.Cut(text, "\n")
	return len(first) <= lineWidth
}

// beginning is the call that begins a stage.
func (w *goWriter) beginning(c *piece) string {
	p := c.parts
	var args []string
	name := "stage.From"
	switch {
	case p.Scratch:
		name = "stage.Scratch"
	case p.Named != "":
		if !w.hasName(p.Named) {
			w.refuse(c, p.Pos, "", "stage.Named("+strconv.Quote(p.Named)+")", "no stage that the targets reach has that name", "use the Stage value instead of its name")
		}
		return "stage.Named(" + goString(p.Named) + ")"
	case p.PerPlatform:
		if len(w.platforms) > 1 {
			w.refuse(c, p.Pos, "", "stage.ForPlatform", "its function has no text, and the graph has several platforms", "write the source for each platform apart")
			return name + "()"
		}
		args = append(args, w.value(w.begins(c.value, p)[0]))
	case p.Base != (stage.Stage{}):
		args = append(args, w.value(p.Base))
	default:
		ref := p.Ref
		if p.Rules != nil {
			ref = simpleWord(ref, p.Rules, false)
		}
		args = append(args, goString(ref))
	}
	options := w.fromOptions(c)
	if rest := strings.Join(options, ", "); fits(rest) && len(args) > 0 && rest != "" {
		options = []string{rest}
	}
	return callWith(name, args, options)
}

func (w *goWriter) hasName(name string) bool {
	return slices.ContainsFunc(w.pieces, func(c *piece) bool { return strings.EqualFold(c.parts.Name, name) })
}

func (w *goWriter) fromOptions(c *piece) []string {
	p := c.parts
	var options []string
	if p.Rules != nil {
		rules := w.rulesOf(c)
		if name := w.rules[rules]; name != "" {
			options = append(options, name)
		} else {
			options = append(options, compatible(rules))
		}
	}
	if p.Name != "" {
		options = append(options, "stage.As("+goString(p.Name)+")")
	}
	if names := w.baseArgs(c); len(names) > 0 {
		options = append(options, "stage.FromArgs("+strings.Join(names, ", ")+")")
	}
	switch p.Platform {
	case "":
	case "$BUILDPLATFORM", "${BUILDPLATFORM}":
		options = append(options, "stage.OnBuildPlatform()")
	default:
		options = append(options, "stage.OnPlatformText("+goString(p.Platform)+")")
	}
	if among := w.among(c.value, p); len(among) > 0 {
		var entries strings.Builder
		for _, key := range slices.Sorted(maps.Keys(among)) {
			fmt.Fprintf(&entries, "%s: %s,\n", goString(key), w.value(among[key]))
		}
		options = append(options, "stage.Among(map[string]stage.Stage{\n"+entries.String()+"})")
	}
	if p.IgnoreOnBuild || len(w.inlined(c)) > 0 {
		options = append(options, "stage.IgnoreOnBuild()")
	}
	return options
}

// value is a stage as a Go value.
func (w *goWriter) value(s stage.Stage) string { return w.piece(s).name }

// names are stages as arguments.
func (w *goWriter) names(stages []stage.Stage) []string {
	list := make([]string, len(stages))
	for i, s := range stages {
		list[i] = w.value(s)
	}
	return list
}

// word is a text of an operation as a Go literal. With the rules of Dockerfiles it loses
// the quotes that are not needed.
func (w *goWriter) word(c *piece, text string) string {
	if c.parts.Rules != nil {
		text = simpleWord(text, c.parts.Rules, false)
	}
	return goString(text)
}

func (w *goWriter) words(c *piece, texts []string) []string {
	list := make([]string, len(texts))
	for i, text := range texts {
		list[i] = w.word(c, text)
	}
	return list
}

// call is the call that makes one operation.
func (w *goWriter) call(c *piece, op stage.WrittenOp) string {
	switch o := op.Op.(type) {
	case *stage.ArgOp:
		names := make([]string, len(o.Args))
		for i, a := range o.Args {
			if g := w.global(c, a); g.Name() != "" {
				a = g
			}
			names[i] = w.argument(c, op.Pos, a)
		}
		return call("Arg", names...)
	case *stage.ConfigOp:
		return w.config(c, o)
	case *stage.WorkdirOp:
		return call("Workdir", w.word(c, o.Path))
	case *stage.RunOp:
		return w.run(c, op.Pos, o)
	case *stage.RunDefaultsOp:
		return callWith("RunDefaults", nil, w.runOptions(c, op.Pos, runDefaults(o)))
	case *stage.CopyOp:
		return w.copy(c, op.Pos, o)
	case *stage.FileOp:
		return callWith("File", []string{w.word(c, o.Path), goString(string(o.Content))}, w.fileOptions(c, o.Mode, 0o644, o.Owner))
	case *stage.MkdirOp:
		return callWith("Mkdir", []string{w.word(c, o.Path)}, w.fileOptions(c, o.Mode, 0o755, o.Owner))
	case *stage.SymlinkOp:
		return call("Symlink", w.word(c, o.Target), w.word(c, o.Path))
	case *stage.RemoveOp:
		if o.Optional {
			return call("Remove", w.word(c, o.Path), "stage.MayBeAbsent()")
		}
		return call("Remove", w.word(c, o.Path))
	case *stage.NeedsOp:
		return call("Needs", w.names(o.Stages)...)
	case *stage.MergeOp:
		return call("Merge", w.names(o.Stages)...)
	case *stage.ApplyOp:
		return call("Apply", w.value(o.Lower), w.value(o.Upper))
	case *stage.LayerOp:
		if w.squashes(c, op) {
			return "Squash()"
		}
		w.refuse(c, op.Pos, "LAYER "+o.Text, "stage.Layer around the stage that another one uses", "a call of Layer holds all of its operations", "call Layer before or after that point")
	case *stage.FuncOp:
		w.refuse(c, op.Pos, "FUNC "+o.Name+" "+o.Version, "stage.Func", "a Go function has no text", "write the stages up to this step, and add the call of Func by hand")
	default:
		w.refuse(c, op.Pos, "", fmt.Sprintf("the operation %T", o), "this package does not know it", "")
	}
	return "Unwritten()"
}

func (w *goWriter) fileOptions(c *piece, mode, usual uint32, owner string) []string {
	var options []string
	if mode != usual {
		options = append(options, fmt.Sprintf("stage.Mode(0o%o)", mode))
	}
	if owner != "" {
		options = append(options, "stage.Owner("+w.word(c, owner)+")")
	}
	return options
}
