package dockerfile

import (
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

// goArg is an argument that has a variable in the source.
type goArg struct {
	declared arg.Parts
	name     string
}

// argument is the variable of an argument, declared where it is first used.
func (w *goWriter) argument(c *piece, pos stage.Position, a arg.Arg) string {
	d := a.Parts()
	d.Written = false // said again where the text needs it
	if d.Validated {
		w.refuse(c, pos, "ARG "+d.Name, "arg.Validate", "a Go function has no text", "add the argument's check to the source by hand")
	}
	if c.parts.Rules != nil && d.HasDefault {
		d.Default = simpleWord(d.Default, c.parts.Rules, false)
	}
	return w.variable(d)
}

func (w *goWriter) variable(d arg.Parts) string {
	suffix := "Arg"
	for _, known := range w.args {
		if reflect.DeepEqual(known.declared, d) {
			return known.name
		}
		if known.declared.Name == d.Name {
			suffix = "" // a number tells two declarations of one name apart
		}
	}
	name := w.ids.name(d.Name, suffix)
	w.args = append(w.args, goArg{d, name})
	return name
}

// baseArgs are the arguments that the beginning of a stage needs. With the rules of
// Dockerfiles all arguments before the first FROM are there, and most mean nothing.
func (w *goWriter) baseArgs(c *piece) []string {
	args := c.parts.Args
	if c.parts.Rules != nil && !w.onBuild {
		args = w.usedArgs(c)
	}
	names := make([]string, len(args))
	for i, a := range args {
		names[i] = w.argument(c, c.parts.Pos, a)
	}
	return names
}

// usedArgs are the arguments of FromArgs that the base's reference uses, or that the
// stage declares without a default, to have their values.
func (w *goWriter) usedArgs(c *piece) []arg.Arg {
	used := map[string]bool{}
	use := func(text string) {
		if refs, err := arg.Names(text, wordOptions(c.parts.Rules)); err == nil {
			for _, ref := range refs {
				used[ref.Name] = true
			}
		}
	}
	use(c.parts.Ref)
	use(c.parts.Platform)
	for _, other := range w.pieces {
		if other.end.beginning != c.end.beginning {
			continue
		}
		for _, op := range other.ops {
			op, ok := op.Op.(*stage.ArgOp)
			if !ok {
				continue
			}
			for _, a := range op.Args {
				if _, has := a.Default(); !has && w.global(c, a).Name() == "" {
					used[a.Name()] = true
				}
			}
		}
	}
	var list []arg.Arg
	for _, a := range slices.Backward(c.parts.Args) {
		if used[a.Name()] {
			def, _ := a.Default()
			use(def)
			list = append(list, a)
		}
	}
	slices.Reverse(list)
	return list
}

// global is the argument of FromArgs that a stage can declare itself in the place of a,
// which has no default and takes its value: one with a constant default. Without such a
// one it is the zero Arg.
func (w *goWriter) global(c *piece, a arg.Arg) arg.Arg {
	plain := a.Parts()
	plain.Written = false
	if !reflect.DeepEqual(plain, arg.Parts{Name: a.Name()}) || c.parts.Rules == nil || w.onBuild || strings.HasPrefix(a.Name(), "TARGET") || strings.HasPrefix(a.Name(), "BUILD") {
		return arg.Arg{}
	}
	for _, g := range slices.Backward(c.parts.Args) {
		if g.Name() == a.Name() {
			def, has := g.Default()
			if _, constant := constantWord(def, c.parts.Rules); has && constant {
				return g
			}
			break
		}
	}
	return arg.Arg{}
}

// declaration is arg.New with its options.
func (w *goWriter) declaration(d arg.Parts) string {
	w.imports["github.com/stagewright/stagewright/arg"] = true
	words := []string{goString(d.Name)}
	options := []arg.Option{}
	if d.HasDefault {
		words = append(words, "arg.Default("+goString(d.Default)+")")
		options = append(options, arg.Default(d.Default))
	}
	if d.Required {
		words = append(words, "arg.Required()")
	}
	if d.OneOf != nil {
		words = append(words, "arg.OneOf("+goList(d.OneOf)+")")
	}
	switch {
	case d.Bool:
		words = append(words, "arg.Bool()")
	case d.Int && d.Low == -1<<63 && d.High == 1<<63-1:
		words = append(words, "arg.Int()")
	case d.Int:
		words = append(words, "arg.IntRange("+strconv.FormatInt(d.Low, 10)+", "+strconv.FormatInt(d.High, 10)+")")
	}
	if d.Doc != "" {
		words = append(words, "arg.Doc("+goString(d.Doc)+")")
	}
	if arg.New(d.Name, options...).Err() != nil {
		words = append(words, "arg.Written()")
	}
	return "arg.New(" + strings.Join(words, ", ") + ")"
}

// wordOptions is how the texts of a stage with the rules of Dockerfiles are read.
func wordOptions(r *stage.DockerRules) arg.Options {
	return arg.Options{Quotes: arg.Word, Escape: r.Escape}
}

// constantWord is what a word of a Dockerfile stands for, when it has no variables.
func constantWord(text string, r *stage.DockerRules) (string, bool) {
	refs, err := arg.Names(text, wordOptions(r))
	if err != nil || len(refs) > 0 {
		return "", false
	}
	out, err := arg.Expand(text, nil, wordOptions(r))
	return out, err == nil
}

// simpleWord is a word of a Dockerfile without the quotes that are not needed in Go.
// split says that white space separates words.
func simpleWord(text string, r *stage.DockerRules, split bool) string {
	if value, ok := constantWord(text, r); ok {
		if again, ok := constantWord(value, r); ok && again == value && !(split && (value == "" || strings.ContainsAny(value, " \t\n"))) {
			return value
		}
		return text
	}
	if inner, ok := strings.CutPrefix(text, `"`); ok && !split {
		if inner, ok := strings.CutSuffix(inner, `"`); ok && !strings.ContainsAny(inner, "\"'\\`") {
			return inner
		}
	}
	return text
}

// isPackage reports whether a text can be the name of a package.
func isPackage(name string) bool { return token.IsIdentifier(name) && name != "_" }
