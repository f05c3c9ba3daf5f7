package dockerfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// operation is the instruction of one operation.
func (w *fileWriter) operation(c *piece, op stage.WrittenOp, defaults []stage.WrittenOp) string {
	none := func(step, why, fix string) string {
		feature, _, _ := strings.Cut(step, " ")
		w.refuse(c, op.Pos, step, feature+" in a Dockerfile", why, fix)
		return ""
	}
	switch o := op.Op.(type) {
	case *stage.ArgOp:
		return w.arguments(c, op.Pos, w.withGlobals(c, o.Args))
	case *stage.ConfigOp:
		return w.config(c, op.Pos, o)
	case *stage.WorkdirOp:
		return w.one(c, op.Pos, "WORKDIR", o.Path)
	case *stage.CopyOp:
		return w.copy(c, op.Pos, o)
	case *stage.RunOp:
		return w.run(c, op.Pos, o, defaults)
	case *stage.FileOp:
		return w.file(c, op.Pos, o)
	case *stage.MkdirOp:
		return none("MKDIR "+o.Path, "WORKDIR makes directories, and changes the configuration too", "use Workdir, or Run(\"mkdir …\")")
	case *stage.SymlinkOp:
		return none("SYMLINK "+o.Path, "no instruction makes links", "use Run(\"ln -s …\")")
	case *stage.RemoveOp:
		return none("REMOVE "+o.Path, "no instruction removes files", "use Run(\"rm …\")")
	case *stage.MergeOp:
		return none("MERGE", "COPY --from takes files, and no whole trees with their removals", "use CopyFrom")
	case *stage.ApplyOp:
		return none("APPLY", "no instruction applies the changes of another stage", "build on the other stage")
	case *stage.FuncOp:
		return none("FUNC "+o.Name+" "+o.Version, "it is a Go function", "")
	case *stage.LayerOp:
		return none("LAYER "+o.Text, "each instruction has a layer of its own", "leave Layer and Squash out")
	case *stage.NeedsOp:
		return none("NEEDS", "a stage waits only for those that it takes files from", "copy a file from the other stage")
	}
	return none(fmt.Sprintf("%T", op.Op), "this package does not know it", "")
}

// withGlobals leaves the default out where the argument before the first FROM has the
// same, as one writes it.
func (w *fileWriter) withGlobals(c *piece, args []arg.Arg) []arg.Arg {
	args = slices.Clone(args)
	for i, a := range args {
		def, has := a.Default()
		for _, g := range slices.Backward(w.globals) {
			if g.Name() != a.Name() {
				continue
			}
			switch same, global := g.Default(); {
			case has && global && def == same && !strings.ContainsAny(def, "$\\\"'`") && !strings.HasPrefix(a.Name(), "TARGET") && !strings.HasPrefix(a.Name(), "BUILD"):
				args[i] = arg.New(a.Name(), arg.Doc(a.Parts().Doc), arg.Written())
			case !has && global && c.parts.Rules == nil:
				w.refuse(c, c.parts.Pos, "ARG "+a.Name(), "an argument without a default beside one before the first FROM", "it takes the value of that one", "give one of the two another name")
			}
			break
		}
	}
	return args
}

// one is an instruction with one text, which goes to the end of the line.
func (w *fileWriter) one(c *piece, at stage.Position, name, text string) string {
	word := w.word(c, at, name, text)
	if c.parts.Rules == nil {
		word = w.simple(word) // nothing separates words there
	}
	return w.checked(c, at, name+" "+word, func(cmd any) bool { return slices.Equal(plainWords(cmd), []string{word}) })
}

// raw is an instruction with a text that is not expanded.
func (w *fileWriter) raw(c *piece, at stage.Position, name, text string) string {
	return w.checked(c, at, name+" "+text, func(cmd any) bool { return slices.Equal(plainWords(cmd), []string{text}) })
}

func (w *fileWriter) config(c *piece, at stage.Position, op *stage.ConfigOp) string {
	switch op.Instruction {
	case "ENV", "LABEL":
		return w.pairs(c, at, op)
	case "EXPOSE":
		return w.expose(c, at, op.Words)
	case "VOLUME":
		return w.volume(c, at, op.Words)
	case "USER", "STOPSIGNAL":
		return w.one(c, at, op.Instruction, op.Words[0])
	case "ONBUILD", "MAINTAINER":
		return w.raw(c, at, op.Instruction, op.Words[0])
	case "CMD":
		cmd, _ := w.commands(op)
		return w.command(c, at, "CMD", op.Words, op.Shell, cmd)
	case "ENTRYPOINT":
		_, entrypoint := w.commands(op)
		return w.command(c, at, "ENTRYPOINT", op.Words, op.Shell, entrypoint)
	case "SHELL":
		return w.command(c, at, "SHELL", op.Words, false, nil)
	case "HEALTHCHECK":
		return w.health(c, at, op.Health)
	}
	w.refuse(c, at, op.Instruction+" "+strings.Join(op.Words, " "), op.Instruction, "a Dockerfile cannot take back what a base has set", "use another base")
	return ""
}

// commands are the command and the entrypoint after an operation; none for a stage that
// FROM could mean and did not, which is not compiled.
func (w *fileWriter) commands(op stage.Op) (cmd, entrypoint []string) {
	if step := w.steps[op]; step != nil {
		return step.Config.Cmd, step.Config.Entrypoint
	}
	return nil, nil
}

// pairs is an ENV or a LABEL.
func (w *fileWriter) pairs(c *piece, at stage.Position, op *stage.ConfigOp) string {
	var want, list []string
	for pair := range slices.Chunk(op.Words, 2) {
		step := op.Instruction + " " + pair[0]
		name, value := w.token(w.word(c, at, step, pair[0])), w.token(w.word(c, at, step, pair[1]))
		want = append(want, name, value)
		list = append(list, name+"="+value)
	}
	line := op.Instruction + " " + strings.Join(list, " ")
	if len(line) > lineWidth || len(list) > 3 {
		line = op.Instruction + " " + strings.Join(list, " "+string(w.escape)+"\n    ")
	}
	return w.checked(c, at, line, func(cmd any) bool { return slices.Equal(plainWords(cmd), want) })
}

func (w *fileWriter) expose(c *piece, at stage.Position, specs []string) string {
	var want []string
	for _, spec := range specs {
		if c.parts.Rules != nil {
			want = append(want, strings.Fields(w.word(c, at, "EXPOSE", spec))...)
			continue
		}
		if strings.Contains(spec, "$") {
			spec = strings.Trim(w.word(c, at, "EXPOSE", spec), `"`) // what blanks separate are several words
		}
		for _, word := range strings.Fields(spec) {
			want = append(want, strings.TrimSuffix(word, "/tcp"))
		}
	}
	return w.checked(c, at, "EXPOSE "+strings.Join(want, " "), func(cmd any) bool {
		return slices.Equal(slices.Sorted(slices.Values(plainWords(cmd))), slices.Sorted(slices.Values(want)))
	})
}

func (w *fileWriter) volume(c *piece, at stage.Position, dirs []string) string {
	words := make([]string, len(dirs))
	for i, dir := range dirs {
		words[i] = w.word(c, at, "VOLUME", dir)
	}
	same := func(cmd any) bool { return slices.Equal(plainWords(cmd), words) }
	line := "VOLUME " + strings.Join(words, " ")
	if cmd, _ := w.read(line); cmd == nil || !same(cmd) {
		for i, word := range words {
			words[i] = w.simple(word)
		}
		line = "VOLUME " + jsonList(words)
	}
	return w.checked(c, at, line, same)
}

// command is an instruction that takes a command. A line that cannot stand in a Dockerfile
// is written with its shell, as a list.
func (w *fileWriter) command(c *piece, at stage.Position, name string, words []string, shell bool, whole []string) string {
	same := func(cmd any) bool {
		got, isShell := commandLine(cmd)
		return isShell == shell && slices.Equal(got, words)
	}
	if shell {
		if cmd, _ := w.read(name + " " + words[0]); cmd != nil && same(cmd) {
			return name + " " + words[0] + "\n"
		}
		if len(whole) == 0 {
			w.refuse(c, at, name, "the text of the command", "it needs the stage's shell to be a list, and the stage was not compiled", "compile it as a target")
			return ""
		}
		words, shell = whole, false
	}
	return w.checked(c, at, name+" "+jsonList(words), same)
}

func (w *fileWriter) health(c *piece, at stage.Position, h *stage.Health) string {
	if h == nil {
		return "HEALTHCHECK NONE\n"
	}
	line := "HEALTHCHECK "
	for _, d := range []struct{ flag, value string }{
		{"interval", h.Interval.String()}, {"timeout", h.Timeout.String()}, {"start-period", h.StartPeriod.String()}, {"start-interval", h.StartInterval.String()}, {"retries", strconv.Itoa(h.Retries)},
	} {
		if d.value != "0s" && d.value != "0" {
			line += "--" + d.flag + "=" + shortDuration(d.value) + " "
		}
	}
	words, shell := h.Exec, false
	if line += "CMD "; h.Shell != "" {
		words, shell = []string{h.Shell}, true
		line += h.Shell
	} else {
		line += jsonList(words)
	}
	return w.checked(c, at, line, func(cmd any) bool {
		got, isShell := commandLine(cmd)
		check, ok := cmd.(*instructions.HealthCheckCommand)
		return ok && isShell == shell && slices.Equal(got, words) && check.Health.Interval == h.Interval && check.Health.Timeout == h.Timeout &&
			check.Health.StartPeriod == h.StartPeriod && check.Health.StartInterval == h.StartInterval && check.Health.Retries == h.Retries
	})
}

// shortDuration leaves out the zero minutes and seconds of "1m0s".
func shortDuration(d string) string {
	if strings.HasSuffix(d, "m0s") {
		d = strings.TrimSuffix(d, "0s")
	}
	if strings.HasSuffix(d, "h0m") {
		d = strings.TrimSuffix(d, "0m")
	}
	return d
}
