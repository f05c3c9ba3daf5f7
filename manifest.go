package stagewright

import (
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
)

// checkManifests finds what cannot be in the manifests of a build.
func (o *Options) checkManifests(images int) error {
	annotated := len(o.Annotations) + len(o.IndexAnnotations)
	for _, m := range []map[string]string{o.Annotations, o.IndexAnnotations} {
		if _, ok := m[""]; ok {
			return errors.New("stagewright: an annotation without a key")
		}
	}
	switch {
	case o.MediaTypes > image.Docker:
		return fmt.Errorf("stagewright: media types %d; want image.OCI or image.Docker", o.MediaTypes)
	case o.MediaTypes == image.Docker && annotated > 0:
		return errors.New("stagewright: manifests of Docker's media types have no annotations; use image.OCI, or Labels")
	case len(o.IndexAnnotations) > 0 && images == 1:
		return errors.New("stagewright: IndexAnnotations, but the build has one platform and no index; use Annotations")
	}
	return nil
}

// manifest is the image with the manifest that the options ask for: the layers and the
// configuration are the same.
func (o *Options) manifest(img v1.Image) (v1.Image, error) {
	if len(o.Annotations) == 0 && o.MediaTypes == image.OCI {
		return img, nil
	}
	file, err := image.FileOf(img)
	if err != nil {
		return nil, err
	}
	return image.New(image.Spec{Base: img, File: file, Annotations: o.Annotations, MediaTypes: o.MediaTypes})
}
