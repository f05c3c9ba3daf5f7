package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/decompress"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// baseImage is a base whose layers are indexed: what each of them changed, and
// the tree after it.
type baseImage struct {
	layers []baseLayer
	known  bool // every layer was in the cache
	files  int
	bytes  int64
}

type baseLayer struct {
	layer   v1.Layer
	chain   cache.Key // names the layer on top of those below it
	changes []tree.Change
	tree    *tree.Node // after the layer
	index   *contentIndex
}

func (b *baseImage) root() *tree.Node {
	if len(b.layers) == 0 {
		return emptyRoot
	}
	return b.layers[len(b.layers)-1].tree
}

// baseRecord is what the cache knows of a base layer: what it changes on top of
// the layers below it.
type baseRecord struct {
	Changes cache.Digest `json:"changes"`
}

// base indexes the layers of a base image. Each layer is read once in the life of
// the cache.
func (s *session) base(ctx context.Context, d *demand, step *stage.Step) (*baseImage, error) {
	return get(ctx, s, d, task{kind: kindBase, step: step.ID}, func(ctx context.Context, d *demand) (*baseImage, error) {
		op := step.Op.(*stage.BaseOp)
		img, err := s.baseImage(ctx, step, op)
		if err != nil {
			return nil, err
		}
		layers, err := img.Layers()
		if err != nil {
			return nil, fmt.Errorf("base image %s: %w", op.Name, err)
		}
		base := &baseImage{known: true}
		below, chain := emptyRoot, cache.NewKey("base chain", 1).Sum()
		for i, layer := range layers {
			digest, err := layer.Digest()
			if err != nil {
				return nil, fmt.Errorf("base image %s: layer %d: %w", op.Name, i, err)
			}
			chain = cache.NewKey("base layer", 1).Key("below", chain).String("digest", digest.String()).Sum()
			l := baseLayer{layer: layer, chain: chain, index: new(contentIndex)}
			if err := s.indexLayer(ctx, d, step, &l, below, base); err != nil {
				return nil, fmt.Errorf("base image %s: layer %s: %w", op.Name, digest, err)
			}
			base.layers = append(base.layers, l)
			below = l.tree
		}
		return base, nil
	})
}

// indexLayer fills in what a layer changes, from the cache or by reading it.
func (s *session) indexLayer(ctx context.Context, d *demand, step *stage.Step, l *baseLayer, below *tree.Node, base *baseImage) error {
	_, err := shared(ctx, s, step, l.chain, func() (*baseRecord, error) {
		rec, ok, err := load[baseRecord](ctx, s, l.chain)
		if !ok || err != nil {
			return nil, err
		}
		l.changes, err = s.changes(ctx, record{Changes: rec.Changes})
		if errors.Is(err, errMissing) {
			return nil, nil
		}
		if err == nil {
			l.tree, err = tree.Apply(below, l.changes)
		}
		return &rec, err
	}, func() (*baseRecord, error) {
		base.known = false
		index, err := s.readLayer(ctx, step, l.layer)
		if err != nil {
			return nil, err
		}
		if l.tree, err = index.Apply(below); err != nil {
			return nil, err
		}
		l.changes = tree.Diff(below, l.tree)
		stored, err := s.putChanges(ctx, l.changes)
		if err != nil {
			return nil, err
		}
		base.files += stored.Files
		base.bytes += stored.Bytes
		rec := &baseRecord{stored.Changes}
		return rec, save(ctx, s, l.chain, rec)
	})
	return err
}

// readLayer reads a layer once: its bytes go to the cache as they are, and what
// they decompress to is indexed and compared with the image's diff ID.
func (s *session) readLayer(ctx context.Context, step *stage.Step, layer v1.Layer) (*layertar.Index, error) {
	digest, err := layer.Digest()
	if err != nil {
		return nil, err
	}
	want, err := cache.ParseDigest(digest.String())
	if err != nil {
		return nil, err
	}
	size, err := layer.Size()
	if err != nil {
		return nil, err
	}
	rc, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	w, err := s.opts.Store.Create(ctx)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	defer w.Discard()
	compressed := io.TeeReader(&progressReader{s: s, step: step, what: digest.String(), r: rc, total: size, ctx: ctx}, w)
	index, err := indexTar(compressed)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, compressed); err != nil { // what stands behind the end of the compressed stream
		return nil, err
	}
	if err := checkDiffID(layer, index.DiffID); err != nil {
		return nil, err
	}
	if _, err := w.Commit(ctx, want); err != nil {
		return nil, err
	}
	return index, nil
}

func checkDiffID(layer v1.Layer, got tree.Digest) error {
	want, err := layer.DiffID()
	if err != nil {
		return err
	}
	if want.String() != got.String() {
		return fmt.Errorf("its contents have the diff ID %s, but the image's configuration says %s", got, want)
	}
	return nil
}

func indexTar(compressed io.Reader) (*layertar.Index, error) {
	plain, _, err := decompress.NewReader(compressed)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	return layertar.Read(plain, layertar.Limits{})
}

// baseDir returns the directory of one layer of a base image, made on first use.
func (s *session) baseDir(ctx context.Context, d *demand, step *stage.Step, base *baseImage, i int) (string, error) {
	l := &base.layers[i]
	return get(ctx, s, d, task{kind: kindLower, key: l.chain}, func(ctx context.Context, d *demand) (string, error) {
		_, snapshots, err := s.dirs()
		if err != nil {
			return "", err
		}
		id := tree.Digest(l.chain)
		if snapshots.Has(id) {
			if dir, err := snapshots.Layer(ctx, id, l.tree, l.changes, refuse); err == nil {
				return dir, nil
			}
		}
		plain, index, err := s.unpackTar(ctx, step, l.layer)
		if err != nil {
			return "", err
		}
		defer plain.Close()
		defer os.Remove(plain.Name())
		own := index.Opener(plain)
		return snapshots.Layer(ctx, id, l.tree, l.changes, func(digest tree.Digest) (io.ReadCloser, error) {
			rc, err := own(digest)
			if !errors.Is(err, os.ErrNotExist) || i == 0 {
				return rc, err
			}
			// A hard link to a file of a layer below brings that file along.
			open, err := s.locateInLayers(ctx, d, step, base, i-1, digest)
			if err != nil {
				return nil, err
			}
			return open()
		})
	})
}

// refuse is an opener for a directory that is believed to be there.
func refuse(digest tree.Digest) (io.ReadCloser, error) { return nil, errMissing }

// unpackTar decompresses a base layer, out of the cache if it is there, into a
// temporary file.
func (s *session) unpackTar(ctx context.Context, step *stage.Step, layer v1.Layer) (*os.File, *layertar.Index, error) {
	digest, err := layer.Digest()
	if err != nil {
		return nil, nil, err
	}
	want, err := cache.ParseDigest(digest.String())
	if err != nil {
		return nil, nil, err
	}
	compressed, _, err := cache.NewReader(ctx, s.opts.Store, want)
	if errors.Is(err, cache.ErrNotFound) {
		if _, err = s.readLayer(ctx, step, layer); err == nil {
			compressed, _, err = cache.NewReader(ctx, s.opts.Store, want)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	defer compressed.Close()
	dir, err := s.tempDir()
	if err != nil {
		return nil, nil, err
	}
	file, err := os.CreateTemp(dir, "layer-*.tar")
	if err != nil {
		return nil, nil, err
	}
	index, err := func() (*layertar.Index, error) {
		plain, _, err := decompress.NewReader(compressed)
		if err != nil {
			return nil, err
		}
		defer plain.Close()
		w := bufio.NewWriterSize(file, 1<<20)
		index, err := layertar.Read(io.TeeReader(plain, w), layertar.Limits{})
		if err != nil {
			return nil, err
		}
		if err := checkDiffID(layer, index.DiffID); err != nil {
			return nil, err
		}
		return index, w.Flush()
	}()
	if err != nil {
		file.Close()
		os.Remove(file.Name())
		return nil, nil, err
	}
	return file, index, nil
}

// tempDir is where temporary files lie.
func (s *session) tempDir() (string, error) {
	private, _, err := s.dirs()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(private, "temporary")
	return dir, os.MkdirAll(dir, 0o700)
}

// locateInBase finds the bytes of a file of a base image, in the directories of
// its layers.
func (s *session) locateInBase(ctx context.Context, d *demand, step *stage.Step, digest tree.Digest) (openFunc, error) {
	base, err := s.base(ctx, d, step)
	if err != nil {
		return nil, err
	}
	return s.locateInLayers(ctx, d, step, base, len(base.layers)-1, digest)
}

func (s *session) locateInLayers(ctx context.Context, d *demand, step *stage.Step, base *baseImage, top int, digest tree.Digest) (openFunc, error) {
	for i := top; i >= 0; i-- {
		l := &base.layers[i]
		path, ok := l.index.path(l.changes, digest)
		if !ok {
			continue
		}
		if _, err := s.baseDir(ctx, d, step, base, i); err != nil {
			return nil, err
		}
		_, snapshots, err := s.dirs()
		if err != nil {
			return nil, err
		}
		return snapshotFile(snapshots, tree.Digest(l.chain), path), nil
	}
	return nil, fmt.Errorf("local: content %s: %w", digest, errMissing)
}

// progressReader tells how much of a download has come, and ends it with the
// context.
type progressReader struct {
	s     *session
	ctx   context.Context
	step  *stage.Step
	what  string
	r     io.Reader
	done  int64
	told  int64
	total int64
}

// progressStep is how many bytes lie between two events.
const progressStep = 1 << 20

func (p *progressReader) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.r.Read(b)
	p.done += int64(n)
	if p.done-p.told >= progressStep || err == io.EOF && p.done != p.told {
		p.told = p.done
		p.s.emit(stage.StepProgress{Step: p.step, What: p.what, Done: p.done, Total: p.total})
	}
	return n, err
}

// baseFile returns the image that a step's layers stand on, nil for scratch.
func (s *session) baseFile(ctx context.Context, step *stage.Step) (v1.Image, image.File, error) {
	op := step.Op.(*stage.BaseOp)
	if op.Ref == "" {
		p := step.Platform
		return nil, image.File{Architecture: p.Architecture, OS: p.OS, Variant: p.Variant, OSVersion: p.OSVersion}, nil
	}
	img, err := s.baseImage(ctx, step, op)
	if err != nil {
		return nil, image.File{}, step.Fail(err, "")
	}
	return img, op.File.Child(), nil
}

// baseImage gets the image that the graph was compiled with: keys stand on its
// digest.
func (s *session) baseImage(ctx context.Context, step *stage.Step, op *stage.BaseOp) (v1.Image, error) {
	img, err := s.opts.Images.Image(ctx, op.Name, step.Platform)
	if err != nil {
		return nil, err
	}
	got, err := img.Digest()
	if err != nil {
		return nil, fmt.Errorf("base image %s: %w", op.Name, err)
	}
	if got.String() != op.Digest.String() {
		return nil, fmt.Errorf("base image %s has the digest %s, but was resolved to %s", op.Name, got, op.Digest)
	}
	return img, nil
}
