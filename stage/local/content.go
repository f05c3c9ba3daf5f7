package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/cache"
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
		return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(op.Content)), nil }, nil
	case *stage.CopyOp:
		if l := s.sources.uses[slot{id, -1}]; l != nil {
			p, ok := l.paths[digest]
			if !ok {
				return nil, nil
			}
			return func() (io.ReadCloser, error) { return openVerified(l.files, p, digest) }, nil
		}
		o, err := s.outcome(ctx, d, id)
		if err != nil || !o.has(digest) {
			return nil, err
		}
		return s.locate(ctx, d, step.Inputs[0], digest)
	case *stage.RunOp:
		o, err := s.outcome(ctx, d, id)
		if err != nil || o.empty() || !o.has(digest) {
			return nil, err
		}
		_, snapshots, err := s.dirs()
		if err != nil {
			return nil, err
		}
		open := snapshots.Opener(tree.Digest(o.Snapshot), o.changes)
		return func() (io.ReadCloser, error) { return open(digest) }, nil
	}
	return nil, nil
}

// has reports whether a file with the content is among the changes.
func (o *outcome) has(digest tree.Digest) bool {
	o.index.Do(func() {
		o.contents = make(map[tree.Digest]bool, len(o.changes))
		for _, c := range o.changes {
			if c.Node != nil && c.Node.Kind() == tree.File {
				o.contents[c.Node.Content()] = true
			}
		}
	})
	return o.contents[digest]
}

// opener locates the bytes of all files among changes, which belong to a step or
// to what is below it, so that reading them later waits for nothing.
func (s *session) opener(ctx context.Context, d *demand, id int, changes []tree.Change) (tree.Opener, error) {
	where := make(map[tree.Digest]openFunc)
	for _, c := range changes {
		if c.Node == nil || c.Node.Kind() != tree.File {
			continue
		}
		digest := c.Node.Content()
		if where[digest] != nil {
			continue
		}
		open, err := s.locate(ctx, d, id, digest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Path, err)
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
	return &verifier{rc: rc, sum: sha256.New(), want: want, name: p, files: files}, nil
}

type verifier struct {
	rc    io.ReadCloser
	sum   hash.Hash
	want  tree.Digest
	name  string
	files source.Files
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.rc.Read(p)
	v.sum.Write(p[:n])
	if err == io.EOF && [sha256.Size]byte(v.sum.Sum(nil)) != [sha256.Size]byte(v.want) {
		return n, &source.ChangedError{Source: v.files.String(), Path: v.name, Err: &cache.CorruptError{Want: cache.Digest(v.want), Got: cache.Digest(v.sum.Sum(nil)), Where: v.name}}
	}
	return n, err
}

func (v *verifier) Close() error { return v.rc.Close() }

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
