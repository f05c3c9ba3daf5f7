package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
)

var _ stage.ProcessRunner = (*result)(nil)

// RunProcess runs a program on top of a step. See stage.ProcessRunner.
func (r *result) RunProcess(ctx context.Context, id int, p stage.Process) (err error) {
	s := r.s
	leave, err := r.enter(id)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(errResultClosed) })()
	defer func() {
		if err != nil && context.Cause(ctx) == errResultClosed {
			err = errResultClosed
		}
	}()
	cfg := s.steps[id].Config
	argv := p.Argv
	if len(argv) == 0 {
		argv = append(slices.Clone(cfg.Entrypoint), cfg.Cmd...)
	}
	if len(argv) == 0 {
		return errors.New("local: the image has neither entrypoint nor command; give Process.Argv")
	}
	if err := s.checkPlatform(ctx, s.steps[id].Platform); err != nil {
		return fmt.Errorf("local: %w", err)
	}
	root, err := s.tree(ctx, nil, id)
	if err != nil {
		return err
	}
	lowers, err := s.lowers(ctx, nil, id)
	if err != nil {
		return err
	}
	mounts := nameFiles(p.Network, nil)
	if lowers, err = s.onMountPoints(ctx, lowers, mounts); err != nil {
		return err
	}
	who, err := s.processUser(ctx, nil, id, root, cfg.User)
	if err != nil {
		return err
	}
	_, snapshots, err := s.dirs()
	if err != nil {
		return err
	}
	upper, err := snapshots.NewUpper(ctx, root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, upper.Discard()) }()
	env := overlayEnv(cfg.Env, p.Env)
	if !hasValue(env, "HOME=") {
		env = setVariable(env, "HOME="+who.home)
	}
	status, err := s.opts.Runner.Run(ctx, &sandbox.Spec{
		Root: sandbox.Root{Lowers: lowers, Upper: upper.Dir, Work: upper.Work},
		Args: argv, Env: env, Dir: cmp.Or(cfg.WorkingDir, "/"), User: who.User,
		Network: network(p.Network), Mounts: mounts, Platform: s.steps[id].Platform, Emulators: s.opts.Emulators,
		Stdin: p.Stdin, Stdout: p.Stdout, Stderr: p.Stderr,
	})
	if err != nil {
		return explain(err)
	}
	if !status.Success() {
		return &stage.ExitError{Argv: argv, Code: status.Code, Signal: status.Signal}
	}
	return nil
}

// overlayEnv replaces and adds variables.
func overlayEnv(env, over []string) []string {
	out := slices.Clone(env)
	for _, e := range over {
		name, _, _ := strings.Cut(e, "=")
		out = slices.DeleteFunc(out, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		out = append(out, e)
	}
	return out
}
