package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/source"
)

type (
	readCloser = io.ReadCloser
	openFunc   func() (io.ReadCloser, error)
)

// locate finds the bytes of a file as it is after a step. The bytes of a step's
// own changes are where the step took them from: in the operation, in a local
// source, in the step that it copied from, in the directory that a Run left. The
// result can be called any time during the session and never waits for a step.
func (s *session) locate(ctx context.Context, d *demand, id int, digest tree.Digest) (openFunc, error) {
	if digest == emptyContent {
		return bytesOpener(nil), nil
	}
	for id = s.below(id); ; id = s.below(s.steps[id].Parent) {
		open, err := s.locateOwn(ctx, d, id, digest)
		if open != nil || err != nil {
			return open, err
		}
		if s.steps[id].Parent < 0 {
			return nil, fmt.Errorf("local: content %s: %w", digest, errMissing)
		}
	}
}

// locateOwn finds the bytes among what one step changed; nil says that they are
// not there.
func (s *session) locateOwn(ctx context.Context, d *demand, id int, digest tree.Digest) (openFunc, error) {
	step := s.steps[id]
	switch op := step.Op.(type) {
	case *stage.BaseOp:
		if op.Ref == "" {
			return nil, nil
		}
		return s.locateInBase(ctx, d, step, digest)
	case *stage.FileOp:
		if sha256.Sum256(op.Content) != [sha256.Size]byte(digest) {
			return nil, nil
		}
		return bytesOpener(op.Content), nil
	case *stage.CopyOp:
		return s.locateInCopy(ctx, d, step, op, digest)
	case *stage.FuncOp:
		o, err := s.outcome(ctx, d, id)
		if err != nil || !o.has(digest) {
			return nil, err
		}
		if o.Pack.IsZero() {
			return s.inLayer(ctx, d, step, o, digest)
		}
		return s.packed(o, digest), nil
	case *stage.MergeOp, *stage.ApplyOp:
		o, err := s.outcome(ctx, d, id)
		if err != nil || !o.has(digest) {
			return nil, err
		}
		return s.locateInAny(ctx, d, step.Inputs, digest)
	case *stage.RunOp:
		o, err := s.outcome(ctx, d, id)
		if err != nil || o.empty() || !o.has(digest) {
			return nil, err
		}
		if o.Snapshot.IsZero() || o.Layer != nil && !s.hasSnapshot(o.Snapshot) {
			return s.inLayer(ctx, d, step, o, digest)
		}
		_, snapshots, err := s.dirs()
		if err != nil {
			return nil, err
		}
		path, _ := o.index.path(o.changes, digest)
		return snapshotFile(snapshots, tree.Digest(o.Snapshot), path), nil
	}
	return nil, nil
}

// locateInCopy finds bytes that a copy brought: out of the operation, an archive that it
// unpacked, or its source.
func (s *session) locateInCopy(ctx context.Context, d *demand, step *stage.Step, op *stage.CopyOp, digest tree.Digest) (openFunc, error) {
	for _, file := range op.Inline {
		if sha256.Sum256(file.Content) == [sha256.Size]byte(digest) {
			return bytesOpener(file.Content), nil
		}
	}
	if len(op.Paths) == 0 {
		return nil, nil
	}
	unpacks := op.Unpack != stage.UnpackNever
	var imported *outcome
	if unpacks || s.sources.copies[step.ID] == nil {
		o, err := s.outcome(ctx, d, step.ID)
		if err != nil || !o.has(digest) {
			return nil, err
		}
		if unpacks && !o.Pack.IsZero() && s.inPack(ctx, o.Pack, digest) {
			return s.packed(o, digest), nil
		}
		if unpacks && o.Pack.IsZero() && o.Layer != nil {
			imported = o
		}
	}
	open, err := s.locateCopied(ctx, d, step, op, digest)
	if imported != nil && (open == nil && err == nil || errors.Is(err, errMissing)) {
		return s.inLayer(ctx, d, step, imported, digest)
	}
	return open, err
}

// locateCopied finds bytes in the source of a copy; nil says that a local source has not
// got them.
func (s *session) locateCopied(ctx context.Context, d *demand, step *stage.Step, op *stage.CopyOp, digest tree.Digest) (openFunc, error) {
	if digest == emptyContent {
		return bytesOpener(nil), nil
	}
	l := s.sources.copies[step.ID]
	switch {
	case l == nil && len(step.Inputs) == 0:
		return nil, nil
	case l == nil:
		return s.locate(ctx, d, step.Inputs[0], digest)
	}
	p, ok := l.paths()[digest]
	if !ok {
		return nil, nil
	}
	return func() (io.ReadCloser, error) { return openVerified(l.files, p, digest) }, nil
}

// locateInAny finds bytes in the files after one of several steps, the last first.
func (s *session) locateInAny(ctx context.Context, d *demand, steps []int, digest tree.Digest) (openFunc, error) {
	for _, id := range slices.Backward(steps) {
		open, err := s.locate(ctx, d, id, digest)
		if err == nil || !errors.Is(err, errMissing) {
			return open, err
		}
	}
	return nil, nil
}

func (s *session) packed(o *outcome, digest tree.Digest) openFunc {
	pack := o.Pack
	return func() (io.ReadCloser, error) { return s.openPacked(context.Background(), pack, digest) }
}

// inPack reports whether a pack has the bytes.
func (s *session) inPack(ctx context.Context, pack cache.Digest, digest tree.Digest) bool {
	b, err := s.opts.Store.Open(ctx, pack)
	if err != nil {
		return false
	}
	defer b.Close()
	if _, err = findPacked(b, digest); err != nil {
		s.doubtPack(ctx, pack)
	}
	return err == nil
}

// emptyContent is the digest of no bytes, which are nowhere and everywhere.
var emptyContent = tree.Digest(sha256.Sum256(nil))

func bytesOpener(b []byte) openFunc {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// contentIndex tells where a content is among changes, without a walk through them for each.
type contentIndex struct {
	once  sync.Once
	paths map[tree.Digest]string
}

// path is the path of a file with the content; changes are the same at each call.
func (x *contentIndex) path(changes []tree.Change, digest tree.Digest) (string, bool) {
	x.once.Do(func() {
		x.paths = make(map[tree.Digest]string, len(changes))
		for _, c := range changes {
			if c.Node != nil && c.Node.Kind() == tree.File {
				x.paths[c.Node.Content()] = c.Path
			}
		}
	})
	path, ok := x.paths[digest]
	return path, ok
}

// has reports whether a file with the content is among the changes.
func (o *outcome) has(digest tree.Digest) bool {
	_, ok := o.index.path(o.changes, digest)
	return ok
}

// snapshotFile opens a file of a snapshot.
func snapshotFile(snapshots *snapshot.Store, id tree.Digest, path string) openFunc {
	return func() (io.ReadCloser, error) {
		f, err := snapshots.OpenFile(id, path)
		if err != nil {
			return nil, err // not a nil *os.File in an interface
		}
		return f, nil
	}
}

// opener locates the bytes of all files among changes, which belong to a step or
// to what is below it, so that reading them later waits for nothing.
func (s *session) opener(ctx context.Context, d *demand, id int, changes []tree.Change) (tree.Opener, error) {
	where := make(map[tree.Digest]openFunc)
	wanted := make(map[tree.Digest]string)
	for _, c := range changes {
		if c.Node != nil && c.Node.Kind() == tree.File {
			wanted[c.Node.Content()] = c.Path
		}
	}
	if err := s.locateQuick(ctx, d, id, wanted, where); err != nil {
		return nil, err
	}
	for digest, path := range wanted {
		open, err := s.locate(ctx, d, id, digest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		where[digest] = open
	}
	return func(digest tree.Digest) (io.ReadCloser, error) {
		if open := where[digest]; open != nil {
			return open()
		}
		return nil, fmt.Errorf("local: content %s: %w", digest, errMissing)
	}, nil
}

// openVerified opens a file of a local source, which must still be what it was
// when its digest was taken.
func openVerified(files source.Files, p string, want tree.Digest) (io.ReadCloser, error) {
	rc, err := files.Open(p)
	if err != nil {
		return nil, err
	}
	return &verifier{rc: rc, sum: sha256.New(), want: want, differs: func(got cache.Digest) error {
		return &source.ChangedError{Source: files.String(), Path: p, Err: &cache.CorruptError{Want: cache.Digest(want), Got: got, Where: p}}
	}}, nil
}

// verifier reads bytes that must have a digest.
type verifier struct {
	rc      io.ReadCloser
	sum     hash.Hash
	want    tree.Digest
	differs func(got cache.Digest) error
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.rc.Read(p)
	v.sum.Write(p[:n])
	if err == io.EOF {
		if got := sum(v.sum); got != cache.Digest(v.want) {
			return n, v.differs(got)
		}
	}
	return n, err
}

func (v *verifier) Close() error { return v.rc.Close() }

// verifiedOnce calls write, which compares what it reads with its digest as [layertar.Write] does, with an opener whose readers
// leave that to it: SHA-256 is most of the cost of reading a large file. What differs is told as the readers of open tell it.
func verifiedOnce(open tree.Opener, write func(tree.Opener) error) error {
	err := write(func(digest tree.Digest) (io.ReadCloser, error) {
		rc, err := open(digest)
		if v, ok := rc.(*verifier); ok && v.want == digest {
			return v.rc, err
		}
		return rc, err
	})
	bad, ok := errors.AsType[*layertar.ContentError](err)
	if !ok || bad.Err != nil {
		return err
	}
	if rc, openErr := open(bad.Want); openErr == nil {
		defer rc.Close()
		if v, ok := rc.(*verifier); ok {
			bad.Err = v.differs(cache.Digest(bad.Got))
		}
	}
	return err
}

// missingInTree explains why a path is not in the files of a stage or an image.
func missingInTree(root *tree.Node, p, where string) error {
	if isPattern(p) {
		return &MissingError{Path: "/" + p, Source: where, Why: fmt.Sprintf("no file matches the pattern %q in %s", "/"+p, where)}
	}
	dir, name := path.Split(p)
	parent, err := follow(root, strings.TrimSuffix(dir, "/"))
	if dir == "" {
		parent.node = root
	}
	if err != nil || !parent.node.IsDir() {
		return &MissingError{Path: "/" + p, Source: where, Why: fmt.Sprintf("%q is not in %s, which has no directory %q", "/"+p, where, "/"+strings.TrimSuffix(dir, "/"))}
	}
	var names []string
	for n := range parent.node.All() {
		names = append(names, n)
	}
	if len(names) == 0 {
		return &MissingError{Path: "/" + p, Source: where, Why: fmt.Sprintf("%q is not in %s, where the directory is empty", "/"+p, where)}
	}
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return &MissingError{Path: "/" + p, Source: where, Why: fmt.Sprintf("%q is not in %s; did you mean %q?", "/"+p, where, "/"+dir+n)}
		}
	}
	slices.Sort(names)
	more := ""
	if len(names) > 8 {
		names, more = names[:8], ", …"
	}
	return &MissingError{Path: "/" + p, Source: where, Why: fmt.Sprintf("%q is not in %s; that directory has %s%s", "/"+p, where, strings.Join(names, ", "), more)}
}
