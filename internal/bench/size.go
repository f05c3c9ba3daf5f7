package main

import (
	"context"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// bytes is the size of what a build has written.
func (j job) bytes(ctx context.Context) (int64, error) {
	if j.tar == "" {
		return pushedBytes(ctx, j.ref(0))
	}
	info, err := os.Stat(j.tar)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// pushedBytes is the size of the layers of an image, or of all images of an index.
func pushedBytes(ctx context.Context, ref string) (int64, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return 0, err
	}
	descriptor, err := remote.Get(parsed, remote.WithContext(ctx))
	if err != nil {
		return 0, err
	}
	var images []v1.Image
	if descriptor.MediaType.IsIndex() {
		index, err := descriptor.ImageIndex()
		if err != nil {
			return 0, err
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			return 0, err
		}
		for _, m := range manifest.Manifests {
			img, err := index.Image(m.Digest)
			if err != nil {
				return 0, err
			}
			images = append(images, img)
		}
	} else {
		img, err := descriptor.Image()
		if err != nil {
			return 0, err
		}
		images = append(images, img)
	}
	sizes := map[v1.Hash]int64{}
	for _, img := range images {
		manifest, err := img.Manifest()
		if err != nil {
			return 0, err
		}
		for _, l := range manifest.Layers {
			sizes[l.Digest] = l.Size
		}
	}
	var total int64
	for _, size := range sizes {
		total += size
	}
	return total, nil
}
