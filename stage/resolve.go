package stage

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/image"
)

// resolve turns an operation as written into the one of the graph: texts are
// expanded, paths are absolute, sources are steps. It fills in the step's text
// and inputs and advances the scope.
func (c *compiler) resolve(l *link, st *state, step *Step) (Op, error) {
	switch op := l.op.(type) {
	case *ConfigOp:
		text, err := op.apply(&st.scope)
		step.Text = text
		return op, err
	case *ArgOp:
		return c.resolveArg(l, op, st, step)
	case *RunOp:
		return c.resolveRun(l, op, st, step)
	case *CopyOp:
		return c.resolveCopy(l, op, st, step)
	case *WorkdirOp:
		return resolveWorkdir(op, st, step)
	case *FileOp, *MkdirOp, *SymlinkOp, *RemoveOp:
		return resolveFile(op, st, step)
	case *NeedsOp:
		return c.resolveNeeds(op, st, step)
	case *MergeOp:
		step.Text = "MERGE" + c.inputs(op.Stages, st, step)
		return &MergeOp{}, nil
	case *ApplyOp:
		step.Text = "APPLY" + c.inputs([]Stage{op.Lower, op.Upper}, st, step)
		return &ApplyOp{}, nil
	case *FuncOp:
		step.Text = opName(op)
		return op, nil
	case *LayerOp:
		return c.resolveLayer(l, op, st, step)
	}
	return nil, fmt.Errorf("operation %T cannot stand inside a stage", l.op)
}

// opName is what an operation is called when its text could not be made.
func opName(op Op) string {
	switch op := op.(type) {
	case *ConfigOp:
		return op.Instruction
	case *ArgOp:
		return "ARG"
	case *RunOp:
		return "RUN " + runText(op)
	case *CopyOp:
		return copyName(op)
	case *WorkdirOp:
		return "WORKDIR " + op.Path
	case *FileOp:
		return "FILE " + op.Path
	case *MkdirOp:
		return "MKDIR " + op.Path
	case *SymlinkOp:
		return "SYMLINK " + op.Path
	case *RemoveOp:
		return "REMOVE " + op.Path
	case *NeedsOp:
		return "NEEDS"
	case *MergeOp:
		return "MERGE"
	case *ApplyOp:
		return "APPLY"
	case *FuncOp:
		return "FUNC " + op.Name + " " + op.Version
	case *LayerOp:
		return "LAYER"
	}
	return ""
}

// copyName is the copy as it was written, without its flags.
func copyName(op *CopyOp) string {
	word, paths := "COPY", op.Paths
	if op.Add {
		word = "ADD"
	}
	switch from := op.From.(type) {
	case AddSource, HTTPSource, GitSource:
		paths = []string{from.String()}
	}
	return strings.Join(slices.Concat([]string{word}, paths, []string{op.Dest}), " ")
}

// inputs makes the last steps of stages inputs of a step, and returns their names.
func (c *compiler) inputs(stages []Stage, st *state, step *Step) string {
	names := ""
	for _, s := range stages {
		step.Inputs = append(step.Inputs, c.at(s.last, st.target).step)
		names += " " + c.label(s.last.root)
	}
	return names
}

// resolveLayer finds the step below a group. The group is on the same stage, so it was
// compiled before.
func (c *compiler) resolveLayer(l *link, op *LayerOp, st *state, step *Step) (Op, error) {
	since := c.states[c.point(op.below, step.Platform, st.target)].step
	if since == st.step {
		return nil, errors.New("the group has no operation")
	}
	step.Text = op.Text
	if st.rules != nil {
		var err error
		if step.Text, err = st.expand(op.Text); err != nil {
			return nil, err
		}
	}
	if step.Text == "" {
		var texts []string
		for id := st.step; id != since; id = c.graph.steps[id].Parent {
			if history := c.graph.steps[id].History; history != "" {
				texts = append(texts, history)
			}
		}
		slices.Reverse(texts)
		step.Text = strings.Join(texts, "; ")
	}
	return &LayerOp{Since: since, Text: step.Text}, nil
}

func (c *compiler) resolveArg(l *link, op *ArgOp, st *state, step *Step) (Op, error) {
	if len(op.Args) == 0 {
		return nil, errors.New("no argument; give arg.New(\"NAME\")")
	}
	c.declareAll(&st.scope, op.Args, declKey{link: l}, l.at, l.root, st.target, true)
	words := []string{"ARG"}
	for _, a := range op.Args {
		word := a.Name()
		if v := st.vars.find(a.Name()); v != nil && v.set && v.below == nil {
			word += "=" + v.value
		}
		words = append(words, word)
	}
	step.Text = strings.Join(words, " ")
	return op, nil
}

func resolveWorkdir(op *WorkdirOp, st *state, step *Step) (Op, error) {
	dir, err := st.expand(op.Path)
	if err != nil {
		return nil, err
	}
	if dir == "" && st.rules == nil {
		return nil, errors.New("the working directory is empty")
	}
	w := &WorkdirOp{Path: path.Clean(st.absolute(dir)), User: st.cfg.User, Compatible: st.rules != nil}
	kept := w.Path
	if st.rules != nil && path.IsAbs(dir) {
		kept = dir // BuildKit leaves an absolute path as it is written
	}
	st.edit(func(cfg *image.Config) { cfg.WorkingDir = kept })
	step.Text = "WORKDIR " + kept
	return w, nil
}

func resolveFile(op Op, st *state, step *Step) (Op, error) {
	at := func(p string) (string, error) {
		x, err := st.expand(p)
		if err != nil {
			return "", err
		}
		if x == "" {
			return "", errors.New("the path is empty")
		}
		if x = path.Clean(st.absolute(x)); strings.ContainsRune(x, 0) {
			return "", fmt.Errorf("path %q has a NUL byte", x)
		}
		return x, nil
	}
	var err error
	switch op := op.(type) {
	case *FileOp:
		f := *op
		if f.Path, err = at(op.Path); err == nil && f.Path == "/" {
			err = errors.New("/ is a directory")
		}
		step.Text = "FILE " + f.Path
		return &f, errors.Join(err, checkMode(f.Mode), expandOwner(st, &f.Owner))
	case *MkdirOp:
		m := *op
		m.Path, err = at(op.Path)
		step.Text = "MKDIR " + m.Path
		return &m, errors.Join(err, checkMode(m.Mode), expandOwner(st, &m.Owner))
	case *SymlinkOp:
		s := *op
		if s.Path, err = at(op.Path); err != nil {
			return nil, err
		}
		if s.Target, err = st.expand(op.Target); err == nil && (s.Target == "" || strings.ContainsRune(s.Target, 0)) {
			err = fmt.Errorf("link target %q: want a path", s.Target)
		}
		step.Text = "SYMLINK " + s.Target + " " + s.Path
		return &s, err
	case *RemoveOp:
		r := *op
		if r.Path, err = at(op.Path); err == nil && r.Path == "/" {
			err = errors.New("the root directory cannot be removed")
		}
		step.Text = "REMOVE " + r.Path
		return &r, err
	}
	return nil, fmt.Errorf("operation %T is no file operation", op)
}

func checkMode(mode uint32) error {
	if mode > 0o7777 {
		return fmt.Errorf("mode %o is more than 7777", mode)
	}
	return nil
}

func expandOwner(st *state, owner *string) error {
	var err error
	if *owner, err = st.expand(*owner); err != nil {
		return err
	}
	return checkOwner(*owner)
}

// checkOwner finds what can be said of an owner without the stage's files.
func checkOwner(owner string) error {
	if owner == "" {
		return nil
	}
	user, group, found := strings.Cut(owner, ":")
	if user == "" || found && group == "" || strings.Contains(group, ":") {
		return fmt.Errorf("owner %q; want \"user\" or \"user:group\", names or numbers", owner)
	}
	for _, id := range []string{user, group} {
		if strings.Trim(id, "0123456789") != "" || id == "" {
			continue
		}
		if _, err := strconv.ParseUint(id, 10, 31); err != nil {
			return fmt.Errorf("owner %q: %s is not between 0 and 2147483647", owner, id)
		}
	}
	return nil
}

func (c *compiler) resolveNeeds(op *NeedsOp, st *state, step *Step) (Op, error) {
	step.Text = "NEEDS" + c.inputs(op.Stages, st, step)
	return &NeedsOp{}, nil
}
