package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// job is a Run step that is about to be executed: what all attempts share.
type job struct {
	step      *stage.Step
	op        *stage.RunOp
	parent    *tree.Node
	inputs    []*tree.Node
	lowers    []string
	account   account
	snapshots *snapshot.Store
	log       *log
}

// execute runs the process of a step, again when it fails and may be retried, and reads
// back what it changed.
func (s *session) execute(ctx context.Context, d *demand, step *stage.Step, op *stage.RunOp, parent *tree.Node, inputs []*tree.Node) (*outcome, error) {
	if err := s.checkPlatform(ctx, step.Platform); err != nil {
		return nil, noEmulator(op, err) // a record that the look at them all had counted on is of no use
	}
	private, snapshots, err := s.dirs()
	if err != nil {
		return nil, err
	}
	sandbox.Prepare(s.opts.Runner)
	j := &job{step: step, op: op, parent: parent, inputs: inputs, snapshots: snapshots}
	if j.lowers, err = s.lowers(ctx, d, step.Parent); err != nil {
		return nil, err
	}
	if s.apart != nil {
		j.snapshots = s.apart.snapshots
	}
	if j.account, err = s.processUser(ctx, d, step.Parent, parent, op.User); err != nil {
		return nil, err
	}
	j.log = newLog(s, step, filepath.Join(private, logsDir), s.recipes[step.ID])
	defer j.log.close()
	for n := 1; ; n++ {
		o, err := s.attempt(ctx, d, j)
		if err != nil && ctx.Err() == nil && s.apart.keepIDs(step, err) {
			j.log.note("it failed with other ids on the host; once more with the same\n")
			n--
			continue
		}
		if err == nil || n > op.Retry || ctx.Err() != nil {
			return o, err
		}
		how, again := failedCommand(err)
		if !again {
			return nil, err
		}
		j.log.note(fmt.Sprintf("attempt %d of %d: %s; once more on the files as they were\n", n, op.Retry+1, how))
	}
}

// failedCommand tells in short how a command failed that ran. Everything else that can go wrong
// goes wrong again.
func failedCommand(err error) (how string, ok bool) {
	if exit, ok := errors.AsType[*stage.ExitError](err); ok {
		return exit.How(), true
	}
	if timeout, ok := errors.AsType[*stage.TimeoutError](err); ok {
		return timeout.How(), true
	}
	return "", false
}

// attempt runs the process once, on an upper directory and with mounts of its own.
func (s *session) attempt(ctx context.Context, d *demand, j *job) (o *outcome, err error) {
	op := j.op
	mounts, err := s.mounts(ctx, d, j.step, op, j.inputs)
	if err != nil {
		return nil, err
	}
	defer mounts.release()
	lowers, err := s.onMountPoints(ctx, j.lowers, mounts.list)
	if err == nil && s.apart != nil {
		lowers, err = s.apart.reordered(ctx, lowers, j.parent)
	}
	if err != nil {
		return nil, err
	}
	select {
	case s.runs <- struct{}{}:
		defer func() { <-s.runs }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	upper, err := j.snapshots.NewUpper(ctx, j.parent)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, upper.Discard()) }()
	spec := &sandbox.Spec{
		Root: sandbox.Root{Lowers: lowers, Upper: upper.Dir, Work: upper.Work},
		Args: op.Argv, Env: environment(op, j.account, mounts), Dir: op.Dir, User: j.account.User, Network: network(op.Network),
		Platform: j.step.Platform, Emulators: s.opts.Emulators,
		Mounts: mounts.list, Limits: limits(op.Limits), Stdout: j.log.stream(stage.Stdout), Stderr: j.log.stream(stage.Stderr),
	}
	if len(op.Argv) == 0 {
		spec.Args = []string{scriptTarget(op)}
	}
	if op.Stdin != nil {
		spec.Stdin = bytes.NewReader(op.Stdin)
	}
	var captured *capture
	if op.Capture {
		captured = newCapture(spec)
	}
	status, err := s.runProcess(ctx, j, spec)
	if err != nil {
		return nil, err
	}
	if op.Compatible {
		if err := leaveMountPoints(upper.Dir, j.parent); err != nil {
			return nil, err
		}
	}
	if o, err = s.adopt(ctx, upper, j.parent, op.Compatible); err != nil || captured == nil {
		return o, err
	}
	o.Output, err = captured.store(ctx, s, status.Code)
	return o, err
}

// runProcess runs a process within the step's time, and says what is wrong when it does
// not end as it may.
func (s *session) runProcess(ctx context.Context, j *job, spec *sandbox.Spec) (sandbox.Status, error) {
	within, cancel := ctx, context.CancelFunc(func() {})
	if j.op.Timeout > 0 {
		within, cancel = context.WithTimeoutCause(ctx, j.op.Timeout, errTooLong)
	}
	defer cancel()
	status, err := s.opts.Runner.Run(within, spec)
	j.log.rethrow()
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(context.Cause(within), errTooLong):
		return status, &stage.TimeoutError{Argv: spec.Args, Timeout: j.op.Timeout, Tail: j.log.tail(), Log: j.log.whole()}
	case err != nil:
		return status, explain(err)
	case status.Success(), status.Signal == "" && slices.Contains(j.op.Allow, status.Code):
		return status, nil
	}
	return status, &stage.ExitError{
		Argv: spec.Args, Code: status.Code, Signal: status.Signal, Cause: exceeded(status.Exceeded, j.op.Limits),
		Tail: j.log.tail(), Log: j.log.whole(),
	}
}

var errTooLong = errors.New("the step took longer than its timeout")

// limits says to the sandbox what a step may use.
func limits(l stage.Limits) sandbox.Limits {
	out := sandbox.Limits{Memory: l.Memory, Pids: l.Pids, CPU: l.CPU}
	for _, u := range l.Ulimits {
		out.Rlimits = append(out.Rlimits, sandbox.Rlimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return out
}

// exceeded names the limits that a step has run into.
func exceeded(e sandbox.Exceeded, l stage.Limits) string {
	switch {
	case e.Memory:
		return "more than " + size(l.Memory) + " of memory"
	case e.Pids:
		return fmt.Sprintf("more than %d processes and threads", l.Pids)
	}
	return ""
}

// size spells a number of bytes with the largest unit that leaves it whole.
func size(n int64) string {
	for _, u := range []struct {
		name  string
		shift int
	}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n>>u.shift<<u.shift == n && n != 0 {
			return fmt.Sprintf("%d %s", n>>u.shift, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
