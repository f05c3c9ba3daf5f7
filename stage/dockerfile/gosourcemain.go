package dockerfile

import (
	"fmt"
	"slices"
	"strings"
)

// main is the function that builds the targets, with what it needs.
func (w *goWriter) main(o GoOptions) string {
	for _, path := range []string{"", "/image", "/image/layout"} {
		w.imports["github.com/stagewright/stagewright"+path] = true
	}
	for _, path := range []string{"context", "fmt", "os"} {
		w.imports[path] = true
	}
	fields := []string{`Context: stagewright.Dir("."),`}
	args, parameter, argument := "", "", ""
	if len(w.args) > 0 {
		w.imports["strings"] = true
		fields = append(fields, "Args: args,")
		args = `args := arg.Values{}
for _, a := range os.Args[1:] {
	name, value, _ := strings.Cut(a, "=")
	args[name] = value
}
`
		parameter, argument = ", args arg.Values", ", args"
	}
	if w.onBuild {
		w.imports["github.com/stagewright/stagewright/stage/dockerfile"] = true
		fields = append(fields, "OnBuild: dockerfile.OnBuild,")
	}
	fields = append(fields, "Sinks: []image.Sink{layout.Dir(dir, \"latest\")},")
	call := fmt.Sprintf("build(context.Background(), %s(), \"out\"%s)", o.Func, argument)
	if len(w.targets) > 1 {
		w.imports["errors"] = true
		names := make([]string, len(w.targets))
		var calls []string
		for i, c := range w.targets {
			if names[i] = "_"; !slices.Contains(w.targets[:i], c) {
				names[i] = c.name
				calls = append(calls, fmt.Sprintf("build(ctx, %s, %q%s),\n", c.name, "out/"+c.name, argument))
			}
		}
		args += fmt.Sprintf("ctx := context.Background()\n%s := %s()\n", strings.Join(names, ", "), o.Func)
		call = "errors.Join(\n" + strings.Join(calls, "") + ")"
	}
	return `
func main() {
` + args + "if err := " + call + `; err != nil {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
}

// build writes the image of a stage into the OCI layout dir.
func build(ctx context.Context, target stage.Stage, dir string` + parameter + `) error {
res, err := stagewright.Build(ctx, target, stagewright.Options{
` + strings.Join(fields, "\n") + `
})
if err != nil {
	return err
}
return res.Close()
}
`
}
