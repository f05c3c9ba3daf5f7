package dockerfile

import (
	"bytes"
	"fmt"
	"go/format"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// GoOptions say what the source of [GoSource] is called. The zero value is a program.
type GoOptions struct {
	// Package is the name of the package. "main", which is the default, is a program
	// that builds the targets for the directory it is started in.
	Package string
	// Func is the name of the function that returns the targets, in their order. The
	// default is "Target", or "Targets" when there are several.
	Func string
}

// GoSource writes the targets of a graph as Go source, formatted as gofmt does: a
// function that makes the same stages. Compiled with the same options, they are the same
// graph, and have the same image.
//
// The values that the graph was compiled with are not in the source: arguments,
// platforms and labels are given to Compile again. A reference that stood for one of
// several stages does so in the source too; one that stood for an image names images only. File systems and archives that are Go
// values become parameters of the function; of a ForPlatform stage the choice for the
// graph's platform is written, when there is one platform. What has no spelling is
// reported, all of it at once, as a [stage.Errors] of [UnsupportedError]s: steps that are
// Go functions, checks of arguments that are.
func GoSource(g *stage.Graph, o GoOptions) ([]byte, error) {
	w := &goWriter{program: readProgram(g), imports: map[string]bool{"github.com/stagewright/stagewright/stage": true}}
	if o.Package == "" {
		o.Package = "main"
	}
	if o.Func == "" {
		o.Func = "Target"
		if len(w.targets) > 1 {
			o.Func = "Targets"
		}
	}
	if !isPackage(o.Package) || !isPackage(o.Func) || o.Package == "main" && (o.Func == "main" || o.Func == "init") {
		return nil, fmt.Errorf("dockerfile: package %q and function %q: want names of Go", o.Package, o.Func)
	}
	names := reserved
	if o.Package == "main" && len(w.targets) > 1 {
		names += reservedInMain
	}
	w.ids = newIdentifiers(names)
	w.ids[o.Func] = true
	w.onBuild, w.asksTarget = w.hasTriggers(), w.asks("TARGETSTAGE")
	w.prepare()
	body := w.body()
	if o.Package == "main" && len(w.params) > 0 {
		w.refuse(w.targets[0], w.params[0].pos, "", "a program for stages that read "+w.params[0].kind, "it is a value of another program", "set GoOptions.Package: the function then has a parameter for it")
	}
	if err := w.problems.err(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w.file(&b, o, body)
	out, err := format.Source(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("dockerfile: the written source is not Go: %w", err) // a mistake of this package
	}
	return out, nil
}

// goWriter writes one source.
type goWriter struct {
	*program
	ids                 identifiers
	imports             map[string]bool
	args                []goArg
	params              []goParam
	rules               map[stage.DockerRules]string // variables of options that several stages have
	result              *piece                       // is returned without a variable; nil when there are several
	onBuild, asksTarget bool                         // a base has ONBUILD instructions; TARGETSTAGE is used
}

// goParam is a parameter of the function.
type goParam struct {
	name, typ, kind string
	pos             stage.Position
}

// prepare finds names for the pieces, and what they have in common.
func (w *goWriter) prepare() {
	number := 0
	for _, c := range w.pieces {
		name, suffix := c.parts.Name, "Stage"
		if c.below != nil {
			suffix = "" // a number tells the pieces of one stage apart
		}
		switch {
		case name != "":
		case c.parts.Named != "":
			name = c.parts.Named
		case c.below != nil && c.below.name != "":
			name = c.below.name
		default:
			name = fmt.Sprintf("stage%d", number)
			number++
		}
		c.name = w.ids.name(name, suffix)
	}
	if len(w.targets) == 1 && !w.targets[0].used {
		w.result = w.targets[0]
	}
	count := map[stage.DockerRules]int{}
	for _, c := range w.pieces {
		if c.below == nil && c.parts.Rules != nil {
			count[w.rulesOf(c)]++
		}
	}
	w.rules = map[stage.DockerRules]string{}
	for _, r := range slices.SortedFunc(maps.Keys(count), func(a, b stage.DockerRules) int { return count[b] - count[a] }) {
		if count[r] > 1 {
			name := "docker"
			if len(w.rules) > 0 {
				name = w.ids.name("docker", "Rules")
			}
			w.rules[r] = name
		}
	}
}

// rulesOf are the rules of a stage, without what makes no difference in it.
func (w *goWriter) rulesOf(c *piece) stage.DockerRules {
	r := *c.parts.Rules
	if r.Escape == '\\' {
		r.Escape = 0
	}
	if r.Target == "default" || !w.asksTarget {
		r.Target = ""
	}
	return r
}

// body is the text of the function.
func (w *goWriter) body() string {
	var b strings.Builder
	for i, c := range w.pieces {
		if i > 0 {
			b.WriteString("\n")
		}
		text := w.expression(c)
		if c == w.result {
			fmt.Fprintf(&b, "return %s\n", text)
		} else {
			fmt.Fprintf(&b, "%s := %s\n", c.name, text)
		}
	}
	if w.result == nil {
		names := make([]string, len(w.targets))
		for i, c := range w.targets {
			names[i] = c.name
		}
		fmt.Fprintf(&b, "\nreturn %s\n", strings.Join(names, ", "))
	}
	return b.String()
}

// file writes the whole source.
func (w *goWriter) file(b *bytes.Buffer, o GoOptions, body string) {
	var head strings.Builder
	for _, a := range w.args {
		fmt.Fprintf(&head, "%s := %s\n", a.name, w.declaration(a.declared))
	}
	for _, r := range slices.SortedFunc(maps.Keys(w.rules), func(a, b stage.DockerRules) int { return strings.Compare(w.rules[a], w.rules[b]) }) {
		fmt.Fprintf(&head, "%s := %s\n", w.rules[r], compatible(r))
	}
	if head.Len() > 0 {
		head.WriteString("\n")
	}
	main := ""
	if o.Package == "main" {
		main = w.main(o)
	}
	origin := w.origin()
	if main != "" {
		fmt.Fprintf(b, "// This program builds %s%s.\n", w.targetNames(), origin)
		if len(w.args) > 0 {
			b.WriteString("//\n//\tgo run . NAME=VALUE ...\n//\n// gives build arguments their values.\n")
		}
	}
	fmt.Fprintf(b, "package %s\n\n", o.Package)
	w.importLines(b)
	params := make([]string, len(w.params))
	for i, p := range w.params {
		params[i] = p.name + " " + p.typ
	}
	results := "stage.Stage"
	if n := len(w.targets); n > 1 {
		results = "(" + strings.Repeat("stage.Stage, ", n-1) + "stage.Stage)"
	}
	fmt.Fprintf(b, "// %s returns %s%s.\nfunc %s(%s) %s {\n%s%s}\n", o.Func, w.targetNames(), origin, o.Func, strings.Join(params, ", "), results, head.String(), body)
	b.WriteString(main)
}

// targetNames are the targets in a sentence.
func (w *goWriter) targetNames() string {
	var names []string
	for _, c := range w.targets {
		if c.parts.Name != "" && !slices.Contains(names, c.parts.Name) {
			names = append(names, c.parts.Name)
		}
	}
	switch {
	case len(names) != len(w.targets) && len(w.targets) == 1:
		return "the image"
	case len(names) != len(w.targets):
		return "the images"
	case len(names) == 1:
		return "the stage " + names[0]
	}
	return "the stages " + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// origin says which file the stages were read from, when it was no Go source.
func (w *goWriter) origin() string {
	file := w.targets[0].parts.Pos.File
	if file == "" || strings.HasSuffix(file, ".go") || strings.ContainsAny(file, "\n\r") {
		return ""
	}
	return " of " + filepath.Base(file)
}

// importLines are the imports: the standard library's, then ours.
func (w *goWriter) importLines(b *bytes.Buffer) {
	paths := slices.Sorted(maps.Keys(w.imports))
	if len(paths) == 1 {
		fmt.Fprintf(b, "import %q\n\n", paths[0])
		return
	}
	b.WriteString("import (\n")
	for _, own := range []bool{false, true} {
		for _, path := range paths {
			if strings.Contains(path, ".") == own {
				fmt.Fprintf(b, "%q\n", path)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString(")\n\n")
}

// compatible is the option of a stage with the rules of Dockerfiles.
func compatible(r stage.DockerRules) string {
	var fields []string
	if r.Escape != 0 {
		fields = append(fields, fmt.Sprintf("Escape: %q", r.Escape))
	}
	if r.Target != "" {
		fields = append(fields, "Target: "+goString(r.Target))
	}
	return "stage.Compatible(stage.DockerRules{" + strings.Join(fields, ", ") + "})"
}

func (w *goWriter) refuse(c *piece, at stage.Position, step, feature, why, fix string) {
	w.program.refuse(at, c.parts.Name, step, feature, why, fix)
}

// asks reports whether a text of a stage's beginning uses an argument, or a stage declares it.
func (w *goWriter) asks(name string) bool {
	is := func(a arg.Arg) bool {
		def, _ := a.Default()
		return a.Name() == name || strings.Contains(def, name)
	}
	inStage := func(s *stage.Step) bool {
		op, ok := s.Op.(*stage.ArgOp)
		return ok && slices.ContainsFunc(op.Args, is)
	}
	return slices.ContainsFunc(w.graph.Steps(), inStage) || slices.ContainsFunc(w.pieces, func(c *piece) bool {
		return strings.Contains(c.parts.Ref+c.parts.Platform, name) || slices.ContainsFunc(c.parts.Args, is)
	})
}

// hasTriggers reports whether a base has ONBUILD instructions.
func (w *goWriter) hasTriggers() bool {
	registers := func(op stage.WrittenOp) bool {
		config, ok := op.Op.(*stage.ConfigOp)
		return ok && config.Instruction == "ONBUILD"
	}
	inStage := func(s stage.Stage) bool { return slices.ContainsFunc(s.Parts().Ops, registers) }
	inImage := func(s *stage.Step) bool {
		base, ok := s.Op.(*stage.BaseOp)
		return ok && len(base.File.Config.OnBuild) > 0
	}
	return slices.ContainsFunc(w.graph.Steps(), inImage) ||
		slices.ContainsFunc(w.pieces, func(c *piece) bool { return slices.ContainsFunc(w.begins(c.value, c.parts), inStage) })
}
