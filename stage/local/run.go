package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// performRun finds the result of a Run by what it sees, or runs it.
func (s *session) performRun(ctx context.Context, d *demand, step *stage.Step, op *stage.RunOp, parent *tree.Node, inputs []*tree.Node, began *time.Time) (*outcome, stage.Status, error) {
	return s.onceByContent(ctx, d, step, parent, inputs, began, func(ctx context.Context, d *demand) (*outcome, error) {
		return s.execute(ctx, d, step, op, parent, inputs)
	})
}

// intact reports whether the directory that a Run left is still there and whole, or can be made
// again, and whether what another machine's cache says fits the files below. Else it is a miss: the step runs again.
func (s *session) intact(ctx context.Context, o *outcome, parent *tree.Node) bool {
	if o.Snapshot.IsZero() && !o.Imported {
		return true
	}
	full, err := tree.Apply(parent, o.changes)
	if err != nil {
		return false
	}
	if o.Snapshot.IsZero() {
		return true // lookup has seen to the layer
	}
	if _, snapshots, err := s.dirs(); err == nil {
		if _, err := snapshots.Layer(ctx, tree.Digest(o.Snapshot), full, o.changes, refuse); err == nil {
			return true
		}
	}
	return s.has(ctx, o.Layer)
}

// processUser finds who a process of a step runs as. An ordinary user has one id in
// the sandbox, so root's further groups, which many images list, are left out there:
// they give root nothing that it has not.
func (s *session) processUser(ctx context.Context, d *demand, id int, root *tree.Node, spec string) (account, error) {
	u, err := s.accounts(ctx, d, id, root).process(spec)
	if u.UID == 0 && os.Geteuid() != 0 {
		u.Groups = nil
	}
	return u, err
}

// adopt reads an upper directory back and makes it the directory of the step's
// layer. The record that names it is written after that.
func (s *session) adopt(ctx context.Context, upper *snapshot.Upper, parent *tree.Node, compatible bool) (*outcome, error) {
	changes, err := upper.Scan(ctx, parent, snapshot.ScanOptions{Epoch: s.opts.Epoch, Unlink: compatible})
	if err != nil {
		return nil, err
	}
	full, err := tree.Apply(parent, changes)
	if err != nil {
		return nil, err
	}
	rec := recordOf(changes)
	if err := s.describeChanges(ctx, &rec, changes); err != nil || rec.empty() {
		return &outcome{record: rec}, err
	}
	id := snapshotID(full, rec.Changes)
	if _, err := upper.Adopt(ctx, id, changes); err != nil {
		return nil, err
	}
	rec.Snapshot = cache.Digest(id)
	return &outcome{record: rec, changes: changes}, nil
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
