package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// performRun finds the result of a Run by what it sees, or runs it. Steps that
// see the same run once.
func (s *session) performRun(ctx context.Context, d *demand, step *stage.Step, op *stage.RunOp, parent *tree.Node, inputs []*tree.Node, began *time.Time) (*outcome, stage.Status, error) {
	key, err := s.contentKey(step, parent, inputs)
	if err != nil {
		return nil, "", err
	}
	r, err := get(ctx, s, d, task{kind: kindExecute, key: key}, func(ctx context.Context, d *demand) (execution, error) {
		o, err := s.lookup(ctx, key)
		if err != nil {
			return execution{}, err
		}
		if o != nil && s.intact(ctx, o, parent) {
			return execution{outcome: o, by: -1}, nil
		}
		if s.planning {
			return execution{}, errWouldRun
		}
		r := execution{by: step.ID}
		s.begin(step, &r.began)
		if r.outcome, err = s.execute(ctx, d, step, op, parent, inputs); err != nil {
			return execution{}, s.failed(ctx, step, r.began, err)
		}
		return r, save(ctx, s, key, r.record)
	})
	if err != nil {
		return nil, "", err
	}
	if r.by == step.ID {
		*began = r.began
		return r.outcome, stage.Ran, nil
	}
	return r.outcome, stage.Hit, nil
}

// execution is one evaluation of a content key, which several steps can share.
type execution struct {
	*outcome
	by    int // the step that ran; -1 for none
	began time.Time
}

// errWouldRun is where planning ends.
var errWouldRun = errors.New("a step would have to run")

// intact reports whether the directory that a Run left is still there and whole.
// A damaged one is a miss: the step runs again.
func (s *session) intact(ctx context.Context, o *outcome, parent *tree.Node) bool {
	if o.Snapshot.IsZero() {
		return true
	}
	_, snapshots, err := s.dirs()
	if err != nil {
		return false
	}
	full, err := tree.Apply(parent, o.changes)
	if err != nil {
		return false
	}
	_, err = snapshots.Layer(ctx, tree.Digest(o.Snapshot), full, o.changes, refuse)
	return err == nil
}

// execute runs the process of a step and reads back what it changed.
func (s *session) execute(ctx context.Context, d *demand, step *stage.Step, op *stage.RunOp, parent *tree.Node, inputs []*tree.Node) (o *outcome, err error) {
	private, snapshots, err := s.dirs()
	if err != nil {
		return nil, err
	}
	lowers, err := s.lowers(ctx, d, step.Parent)
	if err != nil {
		return nil, err
	}
	user, err := s.processUser(ctx, d, step.Parent, parent, op.User)
	if err != nil {
		return nil, err
	}
	mounts, err := s.mounts(ctx, d, step, op, inputs)
	if err != nil {
		return nil, err
	}
	defer mounts.release()
	if lowers, err = s.onMountPoints(ctx, lowers, mounts.list); err != nil {
		return nil, err
	}
	select {
	case s.runs <- struct{}{}:
		defer func() { <-s.runs }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	upper, err := snapshots.NewUpper(ctx, parent)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, upper.Discard()) }()
	log := newLog(s, step, filepath.Join(private, "logs"), s.recipes[step.ID])
	defer log.close()
	spec := &sandbox.Spec{
		Root: sandbox.Root{Lowers: lowers, Upper: upper.Dir, Work: upper.Work},
		Args: op.Argv, Env: append(environment(op, user), mounts.env...), Dir: op.Dir, User: user, Network: network(op.Network),
		Mounts: mounts.list, Stdout: log.stream(stage.Stdout), Stderr: log.stream(stage.Stderr),
	}
	if len(op.Argv) == 0 {
		spec.Args = []string{scriptPath}
	}
	status, err := s.opts.Runner.Run(ctx, spec)
	if err != nil {
		return nil, explain(err)
	}
	if !status.Success() {
		return nil, &stage.ExitError{Argv: spec.Args, Code: status.Code, Signal: status.Signal, Tail: log.tail(), Log: log.whole()}
	}
	return s.adopt(ctx, upper, parent)
}

// processUser finds who a process of a step runs as. An ordinary user has one id in
// the sandbox, so root's further groups, which many images list, are left out there:
// they give root nothing that it has not.
func (s *session) processUser(ctx context.Context, d *demand, id int, root *tree.Node, spec string) (sandbox.User, error) {
	u, err := s.accounts(ctx, d, id, root).process(spec)
	if u.UID == 0 && os.Geteuid() != 0 {
		u.Groups = nil
	}
	return u, err
}

// adopt reads an upper directory back and makes it the directory of the step's
// layer. The record that names it is written after that.
func (s *session) adopt(ctx context.Context, upper *snapshot.Upper, parent *tree.Node) (*outcome, error) {
	changes, err := upper.Scan(ctx, parent, snapshot.ScanOptions{Epoch: s.opts.Epoch})
	if err != nil {
		return nil, err
	}
	full, err := tree.Apply(parent, changes)
	if err != nil {
		return nil, err
	}
	rec, err := s.putChanges(ctx, changes)
	if err != nil || rec.empty() {
		return &outcome{record: rec}, err
	}
	id := snapshotID(full, rec.Changes)
	if _, err := upper.Adopt(ctx, id, changes); err != nil {
		return nil, err
	}
	rec.Snapshot = cache.Digest(id)
	return &outcome{record: rec, changes: changes}, nil
}

// environment is what the process gets: the configured one, and HOME for the user
// when it is not configured, as Docker does.
func environment(op *stage.RunOp, user sandbox.User) []string {
	env := make([]string, 0, len(op.Env)+1)
	home := false
	for _, e := range op.Env {
		home = home || strings.HasPrefix(e, "HOME=")
		env = append(env, e)
	}
	if !home {
		dir := "/"
		if user.UID == 0 {
			dir = "/root"
		}
		env = append(env, "HOME="+dir)
	}
	return env
}

func network(n stage.Network) sandbox.Network {
	if n == stage.NetworkNone {
		return sandbox.NetworkNone
	}
	return sandbox.NetworkHost
}

// explain adds advice to what a sandbox can say.
func explain(err error) error {
	var notFound *sandbox.NotFoundError
	if errors.As(err, &notFound) {
		return &fixError{err, "install it in an earlier step, or give the path of a program that the stage has"}
	}
	var dir *sandbox.DirError
	if errors.As(err, &dir) {
		return &fixError{err, fmt.Sprintf("make the directory first, with Workdir(%q) or Mkdir", dir.Dir)}
	}
	return err
}
