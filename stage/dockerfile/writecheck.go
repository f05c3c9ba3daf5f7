package dockerfile

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagewright/stagewright/stage"
)

// read is an instruction as BuildKit reads it; nil when the text is not one instruction.
func (w *fileWriter) read(text string) (any, *parser.Node) {
	head := ""
	if w.escape != '\\' {
		head = "# escape=" + string(w.escape) + "\n"
	}
	tree, err := parser.Parse(strings.NewReader(head + text))
	if err != nil || len(tree.AST.Children) != 1 {
		return nil, nil
	}
	node := tree.AST.Children[0]
	value, err := instructions.ParseInstruction(node)
	if err != nil {
		return nil, nil
	}
	return value, node
}

// checked is an instruction with its line end, once it is read as what it is meant to be;
// else it is refused.
func (w *fileWriter) checked(c *piece, at stage.Position, text string, same func(cmd any) bool) string {
	if cmd, _ := w.read(text); cmd == nil || !same(cmd) {
		first, _, _ := strings.Cut(text, "\n")
		w.refuse(c, at, first, "the text of the instruction", "it cannot be quoted so that a Dockerfile has it unchanged", "")
	}
	return text + "\n"
}

// argWords are the declarations of an ARG.
func argWords(cmd any) []string {
	a, ok := cmd.(*instructions.ArgCommand)
	if !ok {
		return nil
	}
	words := make([]string, len(a.Args))
	for i, kv := range a.Args {
		words[i] = kv.Key
		if kv.Value != nil {
			words[i] += "=" + *kv.Value
		}
	}
	return words
}

// commandLine is the words of an instruction that takes a command, and whether they are a
// line for the shell.
func commandLine(cmd any) (words []string, shell bool) {
	switch c := cmd.(type) {
	case *instructions.CmdCommand:
		return c.CmdLine, c.PrependShell
	case *instructions.EntrypointCommand:
		return c.CmdLine, c.PrependShell
	case *instructions.ShellCommand:
		return c.Shell, false
	case *instructions.HealthCheckCommand:
		if test := c.Health.Test; len(test) > 1 {
			return test[1:], test[0] == "CMD-SHELL"
		}
	}
	return nil, false
}

// plainWords are the words of the other instructions.
func plainWords(cmd any) []string {
	switch c := cmd.(type) {
	case *instructions.EnvCommand:
		return pairs(c.Env)
	case *instructions.LabelCommand:
		return pairs(c.Labels)
	case *instructions.ExposeCommand:
		return c.Ports
	case *instructions.VolumeCommand:
		return c.Volumes
	case *instructions.UserCommand:
		return []string{c.User}
	case *instructions.WorkdirCommand:
		return []string{c.Path}
	case *instructions.StopSignalCommand:
		return []string{c.Signal}
	case *instructions.MaintainerCommand:
		return []string{c.Maintainer}
	case *instructions.OnbuildCommand:
		return []string{c.Expression}
	}
	return nil
}
