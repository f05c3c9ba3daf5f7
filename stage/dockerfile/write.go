package dockerfile

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// Write writes the targets of a graph as a Dockerfile, of which BuildKit makes the same
// image. With several targets each is a stage to name with --target; the last stage is one
// of them.
//
// Texts are kept as written, in a Dockerfile's quotes, so that build arguments stay
// arguments; checks of their values are left out. Of a ForPlatform stage the choice for the
// graph's platform is written, when there is one platform.
//
// In stages without the rules of [stage.Compatible], Docker differs in what neither of
// them writes down: files of the context keep their modes, which is no difference for
// 0644 and 0755; the directories that a copy makes on the way have the octal mode and the
// owner that it gives its files; a CMD sets ArgsEscaped in the configuration; the history
// of File and Script has other words.
//
// The error is a [stage.Errors] with an [UnsupportedError] for every step that has no
// spelling in a Dockerfile.
func Write(g *stage.Graph) ([]byte, error) {
	w := &fileWriter{program: readProgram(g), escape: '\\', steps: map[stage.Op]*stage.Step{}}
	w.prepare()
	var body bytes.Buffer
	for _, c := range w.pieces {
		if w.aliases[c] != "" {
			continue
		}
		body.WriteByte('\n')
		w.stage(&body, c)
	}
	globals := w.globalLines()
	if err := w.problems.err(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if w.syntax {
		b.WriteString("# syntax=docker/dockerfile:1\n")
	}
	if w.escape != '\\' {
		fmt.Fprintf(&b, "# escape=%c\n", w.escape)
	}
	if b.Len() > 0 && globals == "" {
		b.WriteString("\n")
	}
	b.WriteString(globals)
	if b.Len() == 0 || globals == "" {
		b.Write(bytes.TrimPrefix(body.Bytes(), []byte("\n")))
	} else {
		b.Write(body.Bytes())
	}
	return b.Bytes(), nil
}

// fileWriter writes one Dockerfile.
type fileWriter struct {
	*program
	escape  rune
	syntax  bool                     // something needs a newer frontend than the one of the daemon may be
	globals []arg.Arg                // before the first FROM
	owner   map[string]*piece        // of a global argument: the stage whose FromArgs has it
	steps   map[stage.Op]*stage.Step // what operations became on the first platform
	aliases map[*piece]string        // stages of another name
}

// prepare finds the escape character, the names of stages, the arguments before the first
// FROM and the steps of the operations.
func (w *fileWriter) prepare() {
	ticks, slashes := false, false
	for _, c := range w.pieces {
		if r := c.parts.Rules; r != nil {
			ticks, slashes = ticks || r.Escape == '`', slashes || r.Escape != '`'
		}
	}
	if ticks && !slashes {
		w.escape = '`'
	}
	w.nameStages()
	w.owner = map[string]*piece{}
	for _, c := range w.pieces {
		if c.below == nil {
			w.addGlobals(c)
		}
		w.findSteps(c)
	}
}

// nameStages gives names to the stages that something refers to.
func (w *fileWriter) nameStages() {
	w.aliases = map[*piece]string{}
	taken := map[string]bool{"scratch": true, "context": true}
	for _, c := range w.pieces {
		taken[strings.ToLower(c.parts.Ref)] = true // a stage would hide the image
		for _, op := range c.ops {
			if cp, ok := op.Op.(*stage.CopyOp); ok {
				if image, ok := cp.From.(stage.ImageSource); ok {
					taken[strings.ToLower(image.Ref)] = true
				}
			}
		}
	}
	free := func(name string, plain bool) string {
		for i := 1; taken[name] || !plain; i++ {
			if next := name + "-" + strconv.Itoa(i); !taken[next] {
				name, plain = next, true
			}
		}
		taken[name] = true
		return name
	}
	number := 0
	for _, c := range w.pieces {
		switch {
		case c.parts.Name != "":
			c.name = free(strings.ToLower(c.parts.Name), c.last)
		case c.parts.Named != "" && c.below == nil && len(c.ops) == 0:
			c.name = strings.ToLower(c.parts.Named)
			w.aliases[c] = c.name
		case len(w.targets) > 1 || c.used:
			c.name = free("stage"+strconv.Itoa(number), true)
			number++
		}
	}
}

// findSteps pairs the operations of a stage with the steps that they became.
func (w *fileWriter) findSteps(c *piece) {
	id, ok := w.graph.Step(c.value, w.platforms[0])
	steps := w.graph.Steps()
	for _, op := range slices.Backward(c.parts.Ops) {
		if _, none := op.Op.(*stage.RunDefaultsOp); none || !ok || id < 0 {
			continue
		}
		w.steps[op.Op] = steps[id]
		id = steps[id].Parent
	}
}

func (w *fileWriter) refuse(c *piece, at stage.Position, step, feature, why, fix string) {
	w.program.refuse(at, c.parts.Name, step, feature, why, fix)
}

// addGlobals adds the arguments of FromArgs to those before the first FROM.
func (w *fileWriter) addGlobals(c *piece) {
	for _, a := range c.parts.Args {
		known := false
		for _, g := range w.globals {
			known = known || sameArgument(g, a)
		}
		if known {
			continue
		}
		if other := w.owner[a.Name()]; other != nil && other != c {
			w.refuse(c, c.parts.Pos, "ARG "+a.Name(), "another FromArgs of the same name", "the arguments before the first FROM are those of all stages", "give one of the two another name")
			continue
		}
		w.owner[a.Name()] = c
		w.globals = append(w.globals, a)
	}
}

func sameArgument(a, b arg.Arg) bool {
	x, y := a.Parts(), b.Parts()
	return x.Name == y.Name && x.HasDefault == y.HasDefault && x.Default == y.Default
}

func (w *fileWriter) globalLines() string {
	var b strings.Builder
	for _, a := range w.globals {
		c := w.owner[a.Name()]
		b.WriteString(w.arguments(c, c.parts.Pos, []arg.Arg{a}))
	}
	return b.String()
}

// arguments is an ARG. What an argument is for stands above it, as docker build --call
// outline takes it.
func (w *fileWriter) arguments(c *piece, at stage.Position, args []arg.Arg) string {
	doc := ""
	var words []string
	for _, a := range args {
		d := a.Parts()
		word := d.Name
		if d.Doc != "" {
			doc += "# " + d.Name + " " + strings.Join(strings.Fields(d.Doc), " ") + "\n"
		}
		if d.HasDefault {
			word += "=" + w.token(w.word(c, at, "ARG "+d.Name, d.Default))
		}
		words = append(words, word)
	}
	return doc + w.checked(c, at, "ARG "+strings.Join(words, " "), func(cmd any) bool { return slices.Equal(argWords(cmd), words) })
}

// stage writes one stage: FROM and its instructions.
func (w *fileWriter) stage(b *bytes.Buffer, c *piece) {
	b.WriteString(w.from(c))
	var defaults []stage.WrittenOp
	if c.below != nil {
		w.checkFork(c)
		defaults = w.inheritedDefaults(c)
	}
	for i := 0; i < len(c.ops); i++ {
		op := c.ops[i]
		if end, text := w.addGroup(c, i); end > i {
			b.WriteString(text)
			i = end
			continue
		}
		if _, ok := op.Op.(*stage.RunDefaultsOp); ok {
			defaults = append(defaults, op)
			continue
		}
		b.WriteString(w.operation(c, op, defaults))
	}
}

// inheritedDefaults are those of the piece's stage before it.
func (w *fileWriter) inheritedDefaults(c *piece) []stage.WrittenOp {
	var list []stage.WrittenOp
	for _, op := range c.parts.Ops {
		if len(c.ops) > 0 && op.Op == c.ops[0].Op {
			break
		}
		if _, ok := op.Op.(*stage.RunDefaultsOp); ok {
			list = append(list, op)
		}
	}
	return list
}

// checkFork refuses a stage that goes on after others took it, where FROM would change
// what comes then.
func (w *fileWriter) checkFork(c *piece) {
	cmd := false
	for _, op := range c.parts.Ops {
		o, ok := op.Op.(*stage.ConfigOp)
		inside := slices.ContainsFunc(c.ops, func(own stage.WrittenOp) bool { return own.Op == op.Op })
		switch {
		case ok && !inside && o.Instruction == "ONBUILD":
			w.refuse(c, op.Pos, "ONBUILD", "a stage that is used before its end", "FROM in the middle would run its ONBUILD", "move OnBuild to the end")
		case ok && !inside && o.Instruction == "CMD":
			cmd = true
		case ok && inside && o.Instruction == "ENTRYPOINT" && cmd:
			w.refuse(c, op.Pos, "ENTRYPOINT", "a stage that is used between CMD and ENTRYPOINT", "FROM in the middle would drop its CMD", "move Cmd after Entrypoint")
		}
	}
}

// from is the FROM of a piece.
func (w *fileWriter) from(c *piece) string {
	p := c.parts
	line, flags := "", ""
	base := ""
	switch {
	case c.below != nil:
		base = c.below.name
	case p.Scratch:
		base = "scratch"
	case p.Named != "":
		base = strings.ToLower(p.Named)
		if !w.before(c, base) {
			w.refuse(c, p.Pos, "", "stage.Named("+strconv.Quote(p.Named)+")", "no stage above it has that name", "use the Stage value instead of its name")
		}
	case p.PerPlatform && len(w.platforms) > 1:
		w.refuse(c, p.Pos, "", "stage.ForPlatform", "its function has no text, and the graph has several platforms", "write a Dockerfile for each platform")
	case p.PerPlatform:
		base = w.piece(w.begins(c.value, p)[0]).name
	case p.Base != (stage.Stage{}):
		base = w.piece(p.Base).name
	default:
		base = w.word(c, p.Pos, "FROM", p.Ref)
		if among := w.among(c.value, p); len(among) > 0 && !w.sameNames(among) {
			w.refuse(c, p.Pos, "FROM "+p.Ref, "stage.Among with other names than the stages have", "FROM finds stages by their names", "give the stages the names of the map")
		}
	}
	if p.Platform != "" && c.below == nil {
		flags = "--platform=" + w.flag(w.word(c, p.Pos, "FROM", p.Platform)) + " "
	}
	if p.IgnoreOnBuild && c.below == nil {
		w.refuse(c, p.Pos, "", "stage.IgnoreOnBuild", "FROM always runs what the base triggers", "use a base without ONBUILD")
	}
	line = "FROM " + flags + base
	if c.name != "" {
		line += " AS " + c.name
	}
	return line + "\n"
}

// before reports whether a stage above a piece has a name.
func (w *fileWriter) before(c *piece, name string) bool {
	at := slices.Index(w.pieces, c)
	return slices.ContainsFunc(w.pieces[:at], func(other *piece) bool { return other.name == name })
}

func (w *fileWriter) sameNames(among map[string]stage.Stage) bool {
	for key := range maps.Keys(among) {
		if key != "scratch" && w.piece(among[key]).name != key {
			return false
		}
	}
	return true
}
