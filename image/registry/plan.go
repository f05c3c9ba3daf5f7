package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
)

// blob is what a push may have to send.
type blob struct {
	digest v1.Hash
	size   int64
	open   func(context.Context) (io.ReadCloser, error)
	from   []name.Repository // where it is, in the same registry
}

// listing collects what is below a manifest and not in the repository.
type listing struct {
	*push
	fresh bool // nothing of it is expected to be there

	mu        sync.Mutex
	seen      map[v1.Hash]bool
	blobs     []blob
	manifests []manifest // each after those that it refers to
}

// missing adds a manifest and what is below it, unless the repository has it.
func (l *listing) missing(ctx context.Context, a image.Artifact, depth int) error {
	raw, desc, err := a.Manifest()
	if err != nil {
		return err
	}
	if !l.first(desc.Digest) {
		return nil
	}
	if !l.fresh {
		got, err := l.repo.head(ctx, desc.Digest.String())
		if err != nil {
			return err
		}
		if got == desc.Digest {
			l.skipped()
			return nil
		}
	}
	if err := l.children(ctx, a, depth); err != nil {
		return fmt.Errorf("%s: %w", desc.Digest, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.manifests = append(l.manifests, manifest{raw, desc})
	return nil
}

// first reports whether a digest is met for the first time.
func (l *listing) first(h v1.Hash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[h] {
		return false
	}
	l.seen[h] = true
	return true
}

// children adds what a manifest refers to.
func (l *listing) children(ctx context.Context, a image.Artifact, depth int) error {
	if a.Image != nil {
		return l.image(a.Image)
	}
	if depth == content.MaxDepth {
		return fmt.Errorf("indexes are nested more than %d deep", content.MaxDepth)
	}
	m, err := a.Index.IndexManifest()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(l.client.options.jobs())
	for _, d := range m.Manifests {
		child, err := content.Child(a.Index, d)
		if err != nil {
			return err
		}
		g.Go(func() error { return l.missing(ctx, child, depth+1) })
	}
	return g.Wait()
}

func (l *listing) image(img v1.Image) error {
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	if len(layers) != len(m.Layers) {
		return fmt.Errorf("the manifest has %d layers, the image %d", len(m.Layers), len(layers))
	}
	l.add(blob{digest: m.Config.Digest, size: m.Config.Size, open: func(context.Context) (io.ReadCloser, error) {
		config, err := img.RawConfigFile()
		return io.NopCloser(bytes.NewReader(config)), err
	}})
	for n, d := range m.Layers {
		if d.MediaType.IsDistributable() {
			l.add(blob{d.Digest, d.Size, func(ctx context.Context) (io.ReadCloser, error) {
				return image.OpenLayer(ctx, layers[n])
			}, sourcesOf(layers[n], l.repo.name)})
		}
	}
	return nil
}

func (l *listing) add(b blob) {
	if l.first(b.digest) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.blobs = append(l.blobs, b)
	}
}

// sourcesOf are the repositories of the registry of to from which a layer can be mounted there.
func sourcesOf(l v1.Layer, to name.Repository) []name.Repository {
	var from []name.Repository
	for from == nil {
		switch at := l.(type) {
		case *pulledLayer:
			from = at.from
			continue
		case *remote.MountableLayer:
			from = []name.Repository{at.Reference.Context()}
			continue
		case interface{ Repositories() []string }: // of image.NewLayer
			for _, text := range at.Repositories() {
				if r, err := name.NewRepository(text, name.WeakValidation); err == nil {
					from = append(from, r)
				}
			}
			if from == nil {
				return nil
			}
			continue
		}
		u, ok := l.(interface{ Unwrap() v1.Layer })
		if !ok {
			return nil
		}
		l = u.Unwrap()
	}
	return slices.DeleteFunc(slices.Clone(from), func(r name.Repository) bool {
		return r.RegistryStr() != to.RegistryStr() || r.RepositoryStr() == to.RepositoryStr()
	})
}

// mountable are all repositories that blobs can be mounted from.
func mountable(blobs []blob) []name.Repository {
	var from []name.Repository
	for _, b := range blobs {
		for _, r := range b.from {
			if !slices.ContainsFunc(from, func(o name.Repository) bool { return o.Name() == r.Name() }) {
				from = append(from, r)
			}
		}
	}
	return from
}
