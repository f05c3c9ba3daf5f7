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
		return "COPY " + strings.Join(op.Paths, " ") + " " + op.Dest
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
	}
	return ""
}

func (c *compiler) resolveArg(l *link, op *ArgOp, st *state, step *Step) (Op, error) {
	if len(op.Args) == 0 {
		return nil, errors.New("no argument; give arg.New(\"NAME\")")
	}
	c.declareAll(&st.scope, op.Args, declKey{link: l}, l.at, step.Stage, st.target, true)
	words := []string{"ARG"}
	for _, a := range op.Args {
		word := a.Name()
		if v := st.vars.find(a.Name()); v != nil && v.set {
			word += "=" + v.value
		}
		words = append(words, word)
	}
	step.Text = strings.Join(words, " ")
	return op, nil
}

func (c *compiler) resolveRun(l *link, op *RunOp, st *state, step *Step) (Op, error) {
	run := *op
	switch {
	case op.Script && strings.HasPrefix(op.Command, "#!"):
		run.Argv = nil // the executor gives the script to its interpreter as a file
	case op.Script:
		run.Argv = append(slices.Clone(st.shellArgv()), "set -e\n"+op.Command)
	case op.Command != "":
		run.Argv = append(slices.Clone(st.shellArgv()), op.Command)
	}
	if slices.ContainsFunc(run.Argv, func(a string) bool { return strings.ContainsRune(a, 0) }) {
		return nil, errors.New("an argument has a NUL byte")
	}
	switch op.Network {
	case NetworkDefault, NetworkHost, NetworkNone:
	default:
		return nil, fmt.Errorf("network %q; want stage.NetworkDefault, NetworkHost or NetworkNone", op.Network)
	}
	run.Env, run.Args = st.environment()
	run.Dir, run.User = st.cfg.WorkingDir, st.cfg.User
	if run.Dir == "" {
		run.Dir = "/"
	}
	run.Mounts = slices.Clone(op.Mounts)
	for i := range run.Mounts {
		if err := c.resolveMount(&run.Mounts[i], l, st, step); err != nil {
			return nil, err
		}
	}
	step.Text = "RUN " + runText(&run)
	return &run, nil
}

// runText is the command as Docker's history shows it: the arguments in scope,
// then the command line.
func runText(op *RunOp) string {
	command := strings.Join(op.Argv, " ")
	if command == "" || op.Script {
		command = op.Command
	}
	if len(op.Args) == 0 {
		return command
	}
	return "|" + strconv.Itoa(len(op.Args)) + " " + strings.Join(op.Args, " ") + " " + command
}

func (c *compiler) resolveMount(m *Mount, l *link, st *state, step *Step) error {
	what := string(m.Type) + " mount"
	target, err := st.expand(m.Target)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if m.Type != MountSecret || m.Env == "" || target != "" {
		if target == "" {
			return fmt.Errorf("%s: no target", what)
		}
		m.Target = path.Clean(st.absolute(target))
		if m.Target == "/" {
			return fmt.Errorf("%s: the target cannot be /", what)
		}
	}
	switch m.Type {
	case MountCache:
		if m.ID == "" {
			m.ID = m.Target
		}
		switch m.Sharing {
		case "":
			m.Sharing = Shared
		case Shared, Private, Locked:
		default:
			return fmt.Errorf("%s %s: sharing %q; want stage.Shared, Private or Locked", what, m.Target, m.Sharing)
		}
	case MountTmpfs:
		if m.Size < 0 {
			return fmt.Errorf("%s %s: size %d is negative", what, m.Target, m.Size)
		}
	case MountSecret:
		if m.ID == "" {
			return fmt.Errorf("%s: no id", what)
		}
	case MountBind:
		if m.From == nil {
			return fmt.Errorf("%s %s: no source; give a Stage, stage.Image, stage.Dir, stage.FS or stage.Context", what, m.Target)
		}
		if m.Path, err = st.expand(m.Path); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if m.Path, err = sourcePath(m.From, m.Path); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if m.From, err = c.resolveSource(m.From, l, st, step); err != nil {
			return err
		}
	}
	if m.Mode > 0o7777 {
		return fmt.Errorf("%s %s: mode %o is more than 7777", what, m.Target, m.Mode)
	}
	return nil
}

func (c *compiler) resolveCopy(l *link, op *CopyOp, st *state, step *Step) (Op, error) {
	cp := *op
	var err error
	if cp.Paths, err = st.expandAll(op.Paths); err != nil {
		return nil, err
	}
	written := slices.Clone(cp.Paths)
	for i, p := range cp.Paths {
		if p == "" {
			return nil, errors.New("an empty source path; write \".\" for everything")
		}
		if cp.Paths[i], err = sourcePath(op.From, p); err != nil {
			return nil, err
		}
	}
	dest, err := st.expand(op.Dest)
	if err != nil {
		return nil, err
	}
	if len(cp.Paths) > 1 && !isDirectoryPath(dest) {
		return nil, fmt.Errorf("%d sources, but the destination %q is not a directory; end it in \"/\"", len(cp.Paths), dest)
	}
	cp.Dest = st.absolute(dest)
	if cp.Chown, err = st.expand(op.Chown); err != nil {
		return nil, err
	}
	if cp.Chmod, err = st.expand(op.Chmod); err != nil {
		return nil, err
	}
	if cp.Chmod != "" {
		if mode, err := strconv.ParseUint(cp.Chmod, 8, 32); err != nil || mode > 0o7777 {
			return nil, fmt.Errorf("mode %q; want an octal number up to 7777", cp.Chmod)
		}
	}
	if err := checkOwner(cp.Chown); err != nil {
		return nil, err
	}
	if cp.From, err = c.resolveSource(op.From, l, st, step); err != nil {
		return nil, err
	}
	step.History = copyText(&cp, written, dest)
	step.Text = step.History
	if _, ok := op.From.(ContextSource); !ok {
		step.Text = "COPY --from=" + sourceName(cp.From) + strings.TrimPrefix(step.History, "COPY")
	}
	return &cp, nil
}

// sourceName is what a step's text calls a source: short, since it stands in one line
// with the paths.
func sourceName(from Source) string {
	switch s := from.(type) {
	case DirSource:
		return s.Path
	case FSSource:
		if s.Name == "" {
			return "fs"
		}
		return s.Name
	}
	return strings.TrimPrefix(from.String(), "stage ")
}

// copyText is the copy as Docker's history has it, which never names the source.
func copyText(op *CopyOp, paths []string, dest string) string {
	words := []string{"COPY"}
	if op.Chown != "" {
		words = append(words, "--chown="+op.Chown)
	}
	if op.Chmod != "" {
		words = append(words, "--chmod="+op.Chmod)
	}
	words = append(words, paths...)
	return strings.Join(append(words, dest), " ")
}

func isDirectoryPath(p string) bool {
	return strings.HasSuffix(p, "/") || p == "" || p == "." || strings.HasSuffix(p, "/.")
}

// sourcePath checks and cleans a path in a source. Stages and images have a root
// of their own, so "/" is the way to write their paths; the context and
// directories of this machine have not, and Docker's silent clamping of "/x" and
// "../x" there hides mistakes.
func sourcePath(from Source, p string) (string, error) {
	var local bool
	switch from.(type) {
	case ContextSource, DirSource, FSSource:
		local = true
	}
	if strings.ContainsRune(p, 0) {
		return "", fmt.Errorf("path %q has a NUL byte", p)
	}
	clean := path.Clean(p)
	if local && strings.HasPrefix(clean, "/") && clean != "/" {
		return "", fmt.Errorf("path %q: paths are relative to %s; write %q", p, from, strings.TrimPrefix(clean, "/"))
	}
	if local && (clean == ".." || strings.HasPrefix(clean, "../")) {
		return "", fmt.Errorf("path %q leaves %s; use CopyFrom with stage.Dir for files outside of it", p, from)
	}
	clean = strings.TrimPrefix(path.Clean("/"+clean), "/")
	if clean == "" {
		return ".", nil
	}
	return clean, nil
}

// resolveSource replaces a stage or an image by the step that produces its
// files, which becomes an input of the step.
func (c *compiler) resolveSource(from Source, l *link, st *state, step *Step) (Source, error) {
	switch s := from.(type) {
	case Stage:
		if s.last == nil {
			return nil, errZeroStage
		}
		source := c.at(s.last, st.target)
		step.Inputs = append(step.Inputs, source.step)
		return stepSource{"stage " + c.label(s.last.root)}, nil
	case ImageSource:
		ref, err := st.expand(s.Ref)
		if err != nil {
			return nil, err
		}
		if ref == "" {
			return nil, fmt.Errorf("the image reference %q is empty", s.Ref)
		}
		source := c.baseState(ref, step.Platform, step.Stage, l.at)
		step.Inputs = append(step.Inputs, source.step)
		return stepSource{ref}, nil
	case DirSource:
		s.Ignore = slices.Clone(s.Ignore)
		if s.Path == "" {
			return nil, errors.New("stage.Dir with an empty path; write \".\" for the working directory")
		}
		return s, nil
	case FSSource:
		if s.FS == nil {
			return nil, errors.New("stage.FS(nil): no file system")
		}
	}
	return from, nil
}

func resolveWorkdir(op *WorkdirOp, st *state, step *Step) (Op, error) {
	dir, err := st.expand(op.Path)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		return nil, errors.New("the working directory is empty")
	}
	w := &WorkdirOp{Path: path.Clean(st.absolute(dir)), User: st.cfg.User}
	st.edit(func(cfg *image.Config) { cfg.WorkingDir = w.Path })
	step.Text = "WORKDIR " + w.Path
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
	words := []string{"NEEDS"}
	for _, need := range op.stages {
		step.Inputs = append(step.Inputs, c.at(need, st.target).step)
		words = append(words, c.label(need.root))
	}
	step.Text = strings.Join(words, " ")
	return &NeedsOp{}, nil
}
