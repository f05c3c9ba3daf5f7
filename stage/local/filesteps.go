package local

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/stagewright/stagewright/internal/filemode"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// performFiles does a step that is a function of trees. pack takes the bytes of files
// that are nowhere else.
func (s *session) performFiles(ctx context.Context, d *demand, step *stage.Step, parent *tree.Node, inputs []*tree.Node, pack *packWriter) (*tree.Node, error) {
	switch op := step.Op.(type) {
	case *stage.CopyOp:
		return s.performCopy(ctx, d, step, op, parent, inputs, pack)
	case *stage.FileOp:
		return s.performFile(ctx, d, step, op, parent)
	case *stage.MkdirOp:
		return s.performMkdir(ctx, d, step, op, parent)
	case *stage.SymlinkOp:
		return makeSymlink(parent, op, s.epoch())
	case *stage.RemoveOp:
		return remove(parent, op)
	case *stage.WorkdirOp:
		return s.performWorkdir(ctx, d, step, op, parent)
	case *stage.MergeOp:
		return layOver(parent, inputs)
	case *stage.ApplyOp:
		return tree.Apply(parent, tree.Diff(inputs[0], inputs[1]))
	}
	return nil, fmt.Errorf("local: unknown operation %T", step.Op)
}

// independent reports whether a step does not look at the files below it.
func independent(op stage.Op) bool {
	c, ok := op.(*stage.CopyOp)
	// BuildKit drops --link from a copy that has --chmod.
	return ok && c.Link && !(c.Compatible && c.Chmod != "")
}

func (s *session) performCopy(ctx context.Context, d *demand, step *stage.Step, op *stage.CopyOp, parent *tree.Node, inputs []*tree.Node, pack *packWriter) (*tree.Node, error) {
	a, err := s.copyAttributes(ctx, d, step, op, parent)
	if err != nil {
		return nil, err
	}
	list, err := s.copied(step, op, inputs)
	if err != nil {
		return nil, err
	}
	e := tree.Edit(parent)
	var to placer
	if op.Compatible {
		_, whole := op.From.(stage.GitSource)
		to = &compatible{attributes: a, to: e, dest: op.Dest, whole: whole}
	} else if to, err = newCopier(e, op.Dest, len(list) > 1, a); err != nil {
		return nil, err
	}
	for _, f := range list {
		unpacked, err := s.unpack(ctx, d, step, op, f, to, pack)
		if err == nil && !unpacked {
			err = to.place(f)
		}
		if err != nil {
			return nil, err
		}
	}
	return e.Tree(), nil
}

// copied lists what a copy selects: of its source, then the files in the operation.
func (s *session) copied(step *stage.Step, op *stage.CopyOp, inputs []*tree.Node) ([]found, error) {
	var from *tree.Node
	pick := pickerOf(op)
	find := func(path string) ([]found, bool, error) { return pick.pick(from, path) }
	if local := s.sources.copies[step.ID]; local != nil {
		from = local.root
		find = func(path string) ([]found, bool, error) { return local.pick(pick, path) }
	} else if len(inputs) > 0 {
		from = inputs[0]
	}
	var list []found
	for _, p := range op.Paths {
		matches, there, err := find(p)
		if err != nil {
			return nil, err
		}
		if !there && pick.required(p) {
			return nil, missingInTree(from, p, op.From.String())
		}
		list = append(list, matches...)
	}
	for _, file := range op.Inline {
		n := tree.NewFile(tree.Meta{Mode: 0o644}, sha256.Sum256(file.Content), int64(len(file.Content)), 0)
		list = append(list, found{name: file.Name, node: n, inline: true})
	}
	return list, nil
}

func (s *session) copyAttributes(ctx context.Context, d *demand, step *stage.Step, op *stage.CopyOp, parent *tree.Node) (a attributes, err error) {
	a.epoch = s.epoch()
	names := s.accounts(ctx, d, step.Parent, parent)
	if independent(op) {
		names = accounts{independent: true}
	}
	if op.Compatible {
		a.owner, err = names.compatibleOwner(op.Chown)
	} else {
		a.owner, err = names.owner(op.Chown)
	}
	if err == nil && op.Chmod != "" {
		a.mode, err = filemode.Parse(op.Chmod)
	}
	if err == nil && op.ChmodDirs != "" {
		a.dirMode, err = filemode.Parse(op.ChmodDirs)
	}
	return a, err
}

// unpack unpacks what was found, if the copy asks for that and it is an archive.
func (s *session) unpack(ctx context.Context, d *demand, step *stage.Step, op *stage.CopyOp, f found, to placer, pack *packWriter) (bool, error) {
	if op.Unpack == stage.UnpackNever || f.inline {
		return false, nil
	}
	must := op.Unpack == stage.UnpackAlways && !op.Compatible
	if f.node.Kind() != tree.File {
		if must {
			return false, fmt.Errorf("%q is a %s, no archive to unpack", f.name, f.node.Kind())
		}
		return false, nil
	}
	open, err := s.locateCopied(ctx, d, step, op, f.node.Content())
	if err != nil || open == nil { // a file of CopyOp.Inline, which is no archive
		return false, err
	}
	if open == nil {
		return false, fmt.Errorf("local: content of %q: %w", f.name, errMissing)
	}
	a := &archive{ctx: ctx, name: f.name, open: open, pack: pack}
	switch ok, err := a.is(); {
	case err != nil:
		return false, err
	case !ok && must:
		return false, &fixError{fmt.Errorf("%q is no tar archive, plain or compressed with gzip, bzip2, xz or zstd", f.name), "leave UnpackArchive away to copy it as it is"}
	case !ok:
		return false, nil
	}
	return true, to.extract(a)
}

// layOver puts the files of several trees over those of the first.
func layOver(below *tree.Node, trees []*tree.Node) (*tree.Node, error) {
	e := tree.Edit(below)
	for _, t := range trees {
		if err := layOneOver(e, e.Graft(), t, ""); err != nil {
			return nil, err
		}
	}
	return e.Tree(), nil
}

func layOneOver(e *tree.Editor, graft *tree.Graft, n *tree.Node, at string) error {
	for name, child := range n.All() {
		to := tree.Join(at, name)
		there := e.Lookup(to)
		var err error
		switch {
		case child.IsDir() && there.IsDir():
			if err = setMeta(e, to, there, child.Meta()); err == nil {
				err = layOneOver(e, graft, child, to)
			}
		case there != nil && !child.IsDir() && same(there, child):
		default:
			err = graft.Put(to, child)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) accounts(ctx context.Context, d *demand, id int, root *tree.Node) accounts {
	base, ok := s.steps[s.below(id)].Op.(*stage.BaseOp)
	return accounts{root: root, empty: ok && base.Ref == "", open: func(digest tree.Digest) (rc readCloser, err error) {
		open, err := s.locate(ctx, d, id, digest)
		if err != nil {
			return nil, err
		}
		return open()
	}}
}

func (s *session) performFile(ctx context.Context, d *demand, step *stage.Step, op *stage.FileOp, parent *tree.Node) (*tree.Node, error) {
	a := attributes{epoch: s.epoch()}
	var err error
	if a.owner, err = s.accounts(ctx, d, step.Parent, parent).owner(op.Owner); err != nil {
		return nil, err
	}
	return writeFile(parent, op, a)
}

func (s *session) performMkdir(ctx context.Context, d *demand, step *stage.Step, op *stage.MkdirOp, parent *tree.Node) (*tree.Node, error) {
	a := attributes{epoch: s.epoch()}
	var err error
	if a.owner, err = s.accounts(ctx, d, step.Parent, parent).owner(op.Owner); err != nil {
		return nil, err
	}
	last := a.parent()
	last.Mode = op.Mode
	return makeDirectory(parent, op.Path, attributes{epoch: s.epoch()}.parent(), last)
}

// performWorkdir makes a missing working directory, which like the directories
// above it belongs to the current user.
func (s *session) performWorkdir(ctx context.Context, d *demand, step *stage.Step, op *stage.WorkdirOp, parent *tree.Node) (*tree.Node, error) {
	a := attributes{epoch: s.epoch()}
	n := tree.Lookup(parent, op.Path[1:])
	names := s.accounts(ctx, d, step.Parent, parent)
	switch {
	case n.IsDir() || op.User == "":
	case op.Compatible:
		var err error
		if a.owner, err = names.compatibleOwner(op.User); err != nil {
			return nil, err
		}
	default:
		u, err := names.process(op.User)
		if err != nil {
			return nil, err
		}
		a.owner = &owner{u.UID, u.GID}
	}
	made := a.parent()
	if op.Compatible {
		e := tree.Edit(parent)
		at, _, err := destination(e, strings.Trim(op.Path, "/"))
		if err != nil {
			return nil, err
		}
		made = inherited(e, at, made, a.owner != nil)
	}
	return makeDirectory(parent, op.Path, made, made)
}
