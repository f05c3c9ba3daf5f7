package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// baseDir returns the directory of one layer of a base image, made on first use.
func (s *session) baseDir(ctx context.Context, d *demand, step *stage.Step, base *baseImage, i int) (string, error) {
	l := base.layers[i]
	return get(ctx, s, d, task{kind: kindLower, key: l.chain}, func(ctx context.Context, d *demand) (string, error) {
		plain := l.plain.Swap(nil)
		defer func() { plain.close() }()
		_, snapshots, err := s.dirs()
		if err != nil {
			return "", err
		}
		id := tree.Digest(l.chain)
		there := func() (string, bool) {
			if !snapshots.Has(id) {
				return "", false
			}
			dir, err := snapshots.Layer(ctx, id, l.tree, l.changes, refuse)
			return dir, err == nil
		}
		if dir, ok := there(); ok {
			return dir, nil
		}
		release, err := s.alone(ctx, step, cache.NewKey("base directory", 1).Key("chain", l.chain).Sum())
		if err != nil {
			return "", err
		}
		defer release()
		if dir, ok := there(); ok {
			return dir, nil
		}
		if plain == nil {
			if plain, err = s.unpackTar(ctx, step, l.layer); err != nil {
				return "", err
			}
		}
		own := plain.index.Opener(plain.file)
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

// locateInBase finds the bytes of a file of a base image.
func (s *session) locateInBase(ctx context.Context, d *demand, step *stage.Step, digest tree.Digest) (openFunc, error) {
	base, err := s.base(ctx, d, step)
	if err != nil {
		return nil, err
	}
	return s.locateInLayers(ctx, d, step, base, len(base.layers)-1, digest)
}

func (s *session) locateInLayers(ctx context.Context, d *demand, step *stage.Step, base *baseImage, top int, digest tree.Digest) (openFunc, error) {
	for i := top; i >= 0; i-- {
		l := base.layers[i]
		path, ok := l.index.path(l.changes, digest)
		if !ok {
			continue
		}
		open, err := s.locateInLayer(ctx, d, step, base, i, path, digest)
		if open != nil || err != nil {
			return open, err
		}
		// It is a hard link to a file of a layer below.
	}
	return nil, fmt.Errorf("local: content %s: %w", digest, errMissing)
}

// locateInLayer finds bytes in the directory of a layer, where a Run step had one made, and
// else in the layer's pack, for which no directory is needed; nil says that the pack has not
// got them.
func (s *session) locateInLayer(ctx context.Context, d *demand, step *stage.Step, base *baseImage, i int, path string, digest tree.Digest) (openFunc, error) {
	l := base.layers[i]
	if _, snapshots, err := s.dirs(); err == nil && snapshots.Has(tree.Digest(l.chain)) {
		if _, err := s.baseDir(ctx, d, step, base, i); err != nil {
			return nil, err
		}
		return snapshotFile(snapshots, tree.Digest(l.chain), path), nil
	}
	pack, err := s.layerPack(ctx, d, step, l)
	if err != nil || !s.inPack(ctx, pack, digest) {
		return nil, err
	}
	return func() (io.ReadCloser, error) { return s.openPacked(context.Background(), pack, digest) }, nil
}

// packRecord names the pack of a base layer.
type packRecord struct {
	Pack cache.Digest `json:"pack"`
}

// packKey is where the pack of a base layer is known.
func packKey(layer cache.Digest) cache.Key {
	return cache.NewKey("base pack", 1).Digest("layer", layer).Sum()
}

// layerPack returns the pack of a base layer: its tar with an index of the files.
func (s *session) layerPack(ctx context.Context, d *demand, step *stage.Step, l *baseLayer) (cache.Digest, error) {
	_, digest, err := layerDigest(l.layer)
	if err != nil {
		return cache.Digest{}, err
	}
	key := packKey(digest)
	return get(ctx, s, d, task{kind: kindLower, key: key}, func(ctx context.Context, d *demand) (cache.Digest, error) {
		rec, err := shared(ctx, s, step, key, func() (*packRecord, error) {
			rec, ok, err := load[packRecord](ctx, s, key)
			if !ok || err != nil || !s.holds(ctx, rec.Pack) {
				return nil, err
			}
			return &rec, nil
		}, func() (*packRecord, error) {
			compressed, err := s.cachedLayer(ctx, step, l.layer)
			if err != nil {
				return nil, err
			}
			defer compressed.Close()
			pack := &packWriter{ctx: ctx, store: s.opts.Store}
			defer pack.discard()
			to, err := pack.begin()
			if err != nil {
				return nil, err
			}
			index, err := indexTar(l.layer, compressed, nil, bufio.NewWriterSize(to, 1<<20))
			if err != nil {
				return nil, err
			}
			for _, c := range index.Changes {
				if c.Node != nil && c.Node.Kind() == tree.File {
					pack.spans[c.Node.Content()] = span{index.Offsets[c.Path], c.Node.Size()}
				}
			}
			packed, err := pack.commit()
			if err != nil {
				return nil, err
			}
			rec := &packRecord{packed}
			return rec, save(ctx, s, key, rec)
		})
		if err != nil {
			return cache.Digest{}, err
		}
		return rec.Pack, nil
	})
}
