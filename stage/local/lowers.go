package local

import (
	"context"
	"slices"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// floor is one level of a root directory: a layer of the base image, or a step
// that changed files.
type floor struct {
	step int // the step; for a layer of the base the BaseOp
	base *baseImage
	i    int // the layer of the base
}

// spanLength is how many floors are merged into one directory when a stack is too
// deep to be overlaid as it is.
const spanLength = 32

// lowers returns the directories that, overlaid, show the files after a step, the
// topmost first. Deep stacks are merged in spans, each of which is made once and
// stays valid when the stack grows.
func (s *session) lowers(ctx context.Context, d *demand, id int) ([]string, error) {
	floors, err := s.floors(ctx, d, id)
	if err != nil {
		return nil, err
	}
	var dirs []string
	at := 0
	for length := spanLength; len(floors) > snapshot.MaxLowers && at < len(floors); {
		for length*spanLength <= len(floors)-at {
			length *= spanLength
		}
		if len(floors)-at < spanLength {
			break
		}
		for length > len(floors)-at {
			length /= spanLength
		}
		dir, err := s.span(ctx, d, floors, at, at+length)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
		at += length
	}
	for _, f := range floors[at:] {
		dir, err := s.floorDir(ctx, d, f)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs, nil
}

// floors lists the levels below and at a step, the lowest first.
func (s *session) floors(ctx context.Context, d *demand, id int) ([]floor, error) {
	var list []floor
	for id = s.below(id); ; id = s.below(s.steps[id].Parent) {
		step := s.steps[id]
		if op, ok := step.Op.(*stage.BaseOp); ok {
			if op.Ref != "" {
				base, err := s.base(ctx, d, step)
				if err != nil {
					return nil, err
				}
				for i := len(base.layers) - 1; i >= 0; i-- {
					list = append(list, floor{step: id, base: base, i: i})
				}
			}
			slices.Reverse(list)
			return list, nil
		}
		o, err := s.outcome(ctx, d, id)
		if err != nil {
			return nil, err
		}
		if len(o.changes) > 0 {
			list = append(list, floor{step: id})
		}
	}
}

func (s *session) floorTree(ctx context.Context, d *demand, f floor) (*tree.Node, error) {
	if f.base != nil {
		return f.base.layers[f.i].tree, nil
	}
	return s.tree(ctx, d, f.step)
}

func (s *session) floorDir(ctx context.Context, d *demand, f floor) (string, error) {
	if f.base != nil {
		return s.baseDir(ctx, d, s.steps[f.step], f.base, f.i)
	}
	return get(ctx, s, d, task{kind: kindLower, step: f.step}, func(ctx context.Context, d *demand) (string, error) {
		_, snapshots, err := s.dirs()
		if err != nil {
			return "", err
		}
		o, err := s.outcome(ctx, d, f.step)
		if err != nil {
			return "", err
		}
		full, err := s.tree(ctx, d, f.step)
		if err != nil {
			return "", err
		}
		id := tree.Digest(o.Snapshot)
		if o.Snapshot.IsZero() {
			id = snapshotID(full, o.Changes)
		}
		if dir, err := snapshots.Layer(ctx, id, full, o.changes, refuse); err == nil {
			return dir, nil
		}
		if _, ok := s.steps[f.step].Op.(*stage.RunOp); ok && o.Layer != nil {
			return s.stepDir(ctx, d, s.steps[f.step], o, id, full)
		}
		open, err := s.opener(ctx, d, f.step, o.changes)
		if err != nil {
			return "", err
		}
		return snapshots.Layer(ctx, id, full, o.changes, open)
	})
}

// snapshotID names the directory of a step's changes. The tree is part of it
// because the directory also has the metadata of the directories above the
// changes.
func snapshotID(full *tree.Node, changes cache.Digest) tree.Digest {
	k := cache.NewKey("snapshot", 1).Digest("tree", cache.Digest(full.Identity())).Digest("changes", changes).Sum()
	return tree.Digest(k)
}

// span makes one directory of floors[from:to].
func (s *session) span(ctx context.Context, d *demand, floors []floor, from, to int) (string, error) {
	below, err := emptyRoot, error(nil)
	if from > 0 {
		if below, err = s.floorTree(ctx, d, floors[from-1]); err != nil {
			return "", err
		}
	}
	top := floors[to-1]
	full, err := s.floorTree(ctx, d, top)
	if err != nil {
		return "", err
	}
	key := cache.NewKey("span", 1).Digest("below", cache.Digest(below.Identity())).Digest("full", cache.Digest(full.Identity())).Sum()
	return get(ctx, s, d, task{kind: kindLower, key: key}, func(ctx context.Context, d *demand) (string, error) {
		_, snapshots, err := s.dirs()
		if err != nil {
			return "", err
		}
		changes := tree.Diff(below, full)
		if dir, err := snapshots.Layer(ctx, tree.Digest(key), full, changes, refuse); err == nil {
			return dir, nil
		}
		open, err := s.opener(ctx, d, top.step, changes)
		if err != nil {
			return "", err
		}
		return snapshots.Layer(ctx, tree.Digest(key), full, changes, open)
	})
}
