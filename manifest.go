package stagewright

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
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
	case o.MediaTypes == image.Docker && o.Compression.Format == image.Zstd:
		return errors.New("stagewright: Docker's media types have no layer that is compressed with zstd; use image.OCI, or image.Gzip")
	case len(o.IndexAnnotations) > 0 && images == 1:
		return errors.New("stagewright: IndexAnnotations, but the build has one platform and no index; use Annotations")
	}
	return nil
}

// The annotations that the build sets itself, where it knows their values and
// Options.Annotations does not have them (OCI image specification, annotations.md).
const (
	annotationBaseName   = "org.opencontainers.image.base.name"
	annotationBaseDigest = "org.opencontainers.image.base.digest"
	annotationCreated    = "org.opencontainers.image.created"
	annotationRevision   = "org.opencontainers.image.revision"
	annotationSource     = "org.opencontainers.image.source"
)

// manifest is the image with the manifest that the options ask for: the layers and the
// configuration are the same.
func (o *Options) manifest(img v1.Image, known map[string]string) (v1.Image, error) {
	annotations := annotate(known, o.Annotations)
	if o.MediaTypes == image.Docker {
		annotations = nil
	}
	if len(annotations) == 0 && o.MediaTypes == image.OCI {
		return img, nil
	}
	file, err := image.FileOf(img)
	if err != nil {
		return nil, err
	}
	return image.New(image.Spec{Base: img, File: file, Annotations: annotations, MediaTypes: o.MediaTypes})
}

// indexAnnotations are those of an index.
func (o *Options) indexAnnotations(known map[string]string) map[string]string {
	if o.MediaTypes == image.Docker {
		return nil
	}
	return annotate(known, o.IndexAnnotations)
}

// annotate puts the user's annotations over those that are known. One with an empty
// value leaves the annotation out.
func annotate(known, own map[string]string) map[string]string {
	all := maps.Clone(known)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, own)
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}

// originAnnotations are known of the whole build.
func (o *Options) originAnnotations(res stage.Result) map[string]string {
	known := map[string]string{}
	if !o.Epoch.IsZero() {
		known[annotationCreated] = o.Epoch.UTC().Format(time.RFC3339)
	}
	if origin, ok := stage.ContextOrigin(res); ok {
		known[annotationSource], known[annotationRevision] = origin.URL, origin.Revision
	}
	return known
}

// baseAnnotations are known of the image that a target stands on: of its manifest, and of
// what its name stands for, which is an index when it has several platforms.
func baseAnnotations(g *stage.Graph, target stage.Target) (of, index map[string]string) {
	steps := g.Steps()
	at := target.Step
	for steps[at].Parent >= 0 {
		at = steps[at].Parent
	}
	base, ok := steps[at].Op.(*stage.BaseOp)
	if !ok || base.Ref == "" || strings.HasPrefix(base.Name, layoutPrefix) { // a directory of this machine names nothing elsewhere
		return nil, nil
	}
	name, sum, _ := strings.Cut(base.Name, "@")
	if sum == "" {
		sum = base.Digest.String()
	}
	return map[string]string{annotationBaseName: name, annotationBaseDigest: base.Digest.String()},
		map[string]string{annotationBaseName: name, annotationBaseDigest: sum}
}

// common are the annotations that all have.
func common(all []map[string]string) map[string]string {
	if len(all) == 0 {
		return nil
	}
	same := maps.Clone(all[0])
	maps.DeleteFunc(same, func(key, value string) bool {
		return slices.ContainsFunc(all[1:], func(m map[string]string) bool { return m[key] != value })
	})
	return same
}
