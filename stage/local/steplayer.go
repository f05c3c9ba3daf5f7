package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// The bytes that a step made are in a directory (of a Run) or in a pack. Neither leaves the machine:
// what is exported names the layer of the step's changes, which an image may have anyway. On
// another machine that gives the directory again, when a Run above has to run, and single files.

// hasSnapshot reports whether there is a directory of a name.
func (s *session) hasSnapshot(id cache.Digest) bool {
	_, snapshots, err := s.dirs()
	return err == nil && !id.IsZero() && snapshots.Has(tree.Digest(id))
}

// hasBytes reports whether the bytes that only a record's step made can be had.
func (s *session) hasBytes(ctx context.Context, rec record) (bool, error) {
	switch {
	case !rec.Snapshot.IsZero():
		_, _, err := s.dirs()
		if err == nil && s.hasSnapshot(rec.Snapshot) || s.has(ctx, rec.Layer) {
			return true, nil
		}
		return false, err
	case !rec.Pack.IsZero():
		return s.holds(ctx, rec.Pack) || s.has(ctx, rec.Layer), nil
	case rec.Layer != nil:
		return s.has(ctx, rec.Layer), nil
	}
	return true, nil
}

// stepDir makes the directory of a step's changes out of its layer: once, whatever builds want it.
func (s *session) stepDir(ctx context.Context, d *demand, step *stage.Step, o *outcome, id tree.Digest, full *tree.Node) (string, error) {
	_, snapshots, err := s.dirs()
	if err != nil {
		return "", err
	}
	release, err := s.alone(ctx, step, cache.NewKey("step directory", 1).Digest("snapshot", cache.Digest(id)).Sum())
	if err != nil {
		return "", err
	}
	defer release()
	if dir, err := snapshots.Layer(ctx, id, full, o.changes, refuse); err == nil {
		return dir, nil
	}
	plain, err := s.unpackStep(ctx, d, o.Layer)
	if err != nil {
		return "", err
	}
	defer plain.close()
	dir, err := snapshots.Layer(ctx, id, full, o.changes, plain.index.Opener(plain.file))
	_, short := errors.AsType[*snapshot.SizeError](err)
	if short || errors.Is(err, fs.ErrNotExist) {
		return "", s.loses(o.Layer.Digest, err)
	}
	return dir, err
}

// unpackStep decompresses the layer of a step. What is wrong with the layer is its loss.
func (s *session) unpackStep(ctx context.Context, d *demand, l *layerRecord) (*plainTar, error) {
	compressed, err := s.openFiles(ctx, d, l.Digest)
	if err != nil {
		return nil, err
	}
	defer compressed.Close()
	plain, err := s.readTar(s.layerImage(l), compressed, nil, true)
	return plain, s.damaged(ctx, l, err)
}

// damaged takes an error about the contents of a layer for its loss.
func (s *session) damaged(ctx context.Context, l *layerRecord, err error) error {
	if _, disk := errors.AsType[*os.PathError](err); err == nil || disk || ctx.Err() != nil || errors.Is(err, ErrLost) {
		return err
	}
	return s.loses(l.Digest, err)
}

// inLayer finds bytes in the layer of a step, whose tar is then kept as a pack.
func (s *session) inLayer(ctx context.Context, d *demand, step *stage.Step, o *outcome, digest tree.Digest) (openFunc, error) {
	if o.Layer == nil {
		return nil, nil
	}
	compressed, err := s.openFiles(ctx, d, o.Layer.Digest) // from wherever it is
	if err != nil {
		return nil, err
	}
	compressed.Close()
	pack, err := s.layerPack(ctx, d, step, &baseLayer{layer: s.layerImage(o.Layer)})
	if err != nil {
		return nil, s.damaged(ctx, o.Layer, err)
	}
	if !s.inPack(ctx, pack, digest) {
		return nil, s.loses(o.Layer.Digest, errMissing)
	}
	return func() (io.ReadCloser, error) { return s.openPacked(context.Background(), pack, digest) }, nil
}
