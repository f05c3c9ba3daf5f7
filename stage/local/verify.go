package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stagewright/stagewright/internal/keep"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

var _ stage.Verifier = (*Executor)(nil)

// Verify does again what the cache has of g, and compares. See stage.Verify. Of what a step
// may not depend on, this changes:
//
//   - the time: at least the second is another one than when the step ran
//   - the host name
//   - the order of names in each directory, that of Run steps on Linux
//   - what runs beside it: steps run one after the other
//   - the contents of cache mounts, which begin empty
//   - the ids that a Run step's processes have for the kernel, where this process is the machine's
//     root and the kernel and filesystems allow it (sandbox.Root.Idmapped): they run in a user
//     namespace whose root is nobody outside. For themselves they are who they were, and so are the
//     owners of files, but for those in /proc and /sys.
//   - pids, inodes, the directories on the host in which all this lies
//
// Verification.Varied and Kept say which it was. The ids on the host stay as they were, and Kept
// says why, for everything that an ordinary user does again, since there is only one that
// its files can belong to; for steps on files of ids that a user namespace cannot have; and
// for a step that fails with other ids, which is then done once more with the same: in a user
// namespace there are no device nodes to make, no raw sockets and no ports below 1024.
//
// It does not change who a step is for itself, the kernel and the network.
//
// What comes out stays in temporary directories, which go before Verify returns.
func (e *Executor) Verify(ctx context.Context, g *stage.Graph, r stage.Request) (v *stage.Verification, err error) {
	r.NoCache, r.NoCacheStages, r.Partial = false, nil, false
	s, err := e.open(ctx, g, r, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	clear(s.anew)
	plans, err := s.look().plan(ctx)
	if err != nil {
		return nil, err
	}
	again := s.look()
	store := &scratch{below: again.opts.Store}
	again.opts.Store = store
	defer func() { err = errors.Join(err, store.close()) }()
	v = &stage.Verification{Varied: []stage.Condition{stage.ConditionTime, stage.ConditionParallelism}}
	again.apart = &apart{s: again, elsewhere: &elsewhere{Runner: again.opts.Runner}, verification: v}
	again.quick = nil
	defer func() { err = errors.Join(err, again.apart.close()) }()
	again.opts.Runner = again.apart.elsewhere
	for i, step := range s.steps {
		if base, ok := step.Op.(*stage.BaseOp); !s.needed[i] || !changesFiles(step.Op) || ok && base != nil {
			continue
		}
		if plans[i].Status != stage.Hit {
			v.Missing = append(v.Missing, step)
			continue
		}
		switch err := again.verifyStep(ctx, v, step, r.Progress); {
		case errors.Is(err, errWouldRun):
			v.Missing = append(v.Missing, step)
		case err != nil:
			return nil, err
		}
	}
	return v, nil
}

// verifyStep does one step again and compares. Of that alone tell is told, not of what is found
// in the cache for it. errWouldRun says that the cache has not got what it stands on.
func (s *session) verifyStep(ctx context.Context, v *stage.Verification, step *stage.Step, tell func(stage.Event)) error {
	was, err := s.outcome(ctx, nil, step.ID)
	if err != nil {
		return err
	}
	parent, inputs, err := s.stands(ctx, nil, step)
	if err != nil {
		return err
	}
	if err := nextSecond(ctx, s.started); err != nil { // by when whatever the cache has had ended
		return err
	}
	delete(s.reports, step.ID) // that it was found
	s.request.Progress = tell
	defer func() { s.request.Progress = nil }()
	began := time.Now()
	s.emit(stage.StepStarted{Step: step, Time: began})
	now, err := get(ctx, s, nil, task{kind: kindAgain, step: step.ID}, func(ctx context.Context, d *demand) (*outcome, error) {
		return s.again(ctx, d, step, parent, inputs)
	})
	if how, ok := failedCommand(err); ok && ctx.Err() == nil {
		v.Steps++
		v.Mismatches = append(v.Mismatches, stage.Mismatch{Step: step, Aspect: "end", Old: "success", New: how})
		s.finish(step, stage.Failed, began, record{}, step.Fail(err, ""))
		return nil
	}
	if err != nil {
		return s.failed(ctx, step, began, err)
	}
	s.finish(step, stage.Ran, began, now.record, nil)
	v.Steps++
	v.Files += len(was.changes)
	c := pair{s: s, step: step, was: was, now: now}
	list, err := c.mismatches(ctx, parent)
	v.Mismatches = append(v.Mismatches, list...)
	return err
}

// again does a step without a look at what the cache has of it.
func (s *session) again(ctx context.Context, d *demand, step *stage.Step, parent *tree.Node, inputs []*tree.Node) (*outcome, error) {
	switch op := step.Op.(type) {
	case *stage.RunOp:
		if err := s.apart.begin(ctx, step, append([]*tree.Node{parent}, inputs...)); err != nil {
			return nil, err
		}
		defer s.apart.end()
		return s.execute(ctx, d, step, op, parent, inputs)
	case *stage.FuncOp:
		return s.call(ctx, d, step, op, parent)
	}
	return s.changeFiles(ctx, parent, func(pack *packWriter) (*tree.Node, error) {
		return s.performFiles(ctx, d, step, parent, inputs, pack)
	})
}

// nextSecond waits until the second is another one than that of a time.
func nextSecond(ctx context.Context, than time.Time) error {
	now := time.Now()
	if now.Unix() != than.Unix() {
		return nil
	}
	t := time.NewTimer(time.Until(now.Truncate(time.Second).Add(time.Second)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// apart is where a session does steps whose results nobody keeps: with directories of its own
// for what they write, for logs and for cache mounts.
type apart struct {
	s         *session
	dir       string          // empty before it is needed
	snapshots *snapshot.Store // of what Run steps write; nil before it is needed
	orders    map[tree.Digest]string

	elsewhere    *elsewhere
	asked        bool  // whether steps can have other ids at all
	noIDs        error // why not
	verification *stage.Verification
}

// open makes the directories.
func (a *apart) open() error {
	if a.snapshots != nil {
		return nil
	}
	temp, err := a.s.tempDir()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(temp, "again-*") // another one may verify at the same time
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	a.snapshots, err = snapshot.Open(filepath.Join(dir, snapshotsDir), snapshot.Options{UpperDir: shm(), Parallel: a.s.opts.Parallel})
	if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	a.dir, a.orders = dir, map[tree.Digest]string{}
	return nil
}

func (a *apart) close() error {
	if a.snapshots == nil {
		return nil
	}
	return errors.Join(a.snapshots.Close(), keep.RemoveAll(a.dir))
}

// dirs opens the directories that Run steps need, on first use: those of the executor, but
// for what a session keeps apart.
func (s *session) dirs() (private string, snapshots *snapshot.Store, err error) {
	if private, snapshots, err = s.Executor.dirs(); err != nil || s.apart == nil {
		return private, snapshots, err
	}
	if err = s.apart.open(); err != nil {
		return "", nil, err
	}
	return s.apart.dir, snapshots, nil
}
