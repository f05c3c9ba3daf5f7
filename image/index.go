package image

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/platform"
)

// Child is one image of an index.
type Child struct {
	// Platform is what the index says about Image. Zero means what the image's config says.
	Platform platform.Platform
	Image    v1.Image
}

// NewIndex returns an index of the images in the order given. Its media type is Docker's manifest list when every image has Docker's
// media types, else that of an OCI index. It fails when there is no child, when two are for the same platform (a reader could only find
// the first), when a platform is neither given nor in the config, and when a child's manifest or config cannot be read. Features of the
// operating system (os.features) come from the config. No layer is opened.
func NewIndex(children []Child, annotations map[string]string) (v1.ImageIndex, error) {
	if len(children) == 0 {
		return nil, errors.New("image index: no image given; an index has at least one")
	}
	x := &lazyIndex{mediaType: types.DockerManifestList}
	m := v1.IndexManifest{SchemaVersion: 2, Annotations: annotations}
	for n, c := range children {
		if c.Image == nil {
			return nil, fmt.Errorf("image index: child %d of %d has no image", n+1, len(children))
		}
		d, err := describeChild(c)
		if err != nil {
			return nil, fmt.Errorf("image index: child %d of %d: %w", n+1, len(children), err)
		}
		same := func(o v1.Descriptor) bool { return o.Platform.Equals(*d.Platform) && d.Platform.OS != "unknown" }
		if o := slices.IndexFunc(m.Manifests, same); o >= 0 {
			return nil, fmt.Errorf("image index: children %d and %d are both for %s; a reader could only find the first", o+1, n+1, d.Platform)
		}
		if d.MediaType != types.DockerManifestSchema2 {
			x.mediaType = types.OCIImageIndex
		}
		m.Manifests = append(m.Manifests, d)
		x.images = append(x.images, c.Image)
	}
	m.MediaType = x.mediaType
	for _, d := range m.Manifests {
		x.digests = append(x.digests, d.Digest)
	}
	var err error
	if x.manifest, x.digest, err = encodeManifest(m); err != nil {
		return nil, fmt.Errorf("image index: %w", err)
	}
	return x, nil
}

func describeChild(c Child) (v1.Descriptor, error) {
	_, d, err := Artifact{Image: c.Image}.Manifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	f, err := FileOf(c.Image)
	if err != nil {
		return v1.Descriptor{}, err
	}
	p := c.Platform
	if p.IsZero() {
		p = platform.Platform{OS: f.OS, Architecture: f.Architecture, Variant: f.Variant, OSVersion: f.OSVersion}
	}
	if p.OS == "" || p.Architecture == "" {
		return v1.Descriptor{}, errors.New("its config names no platform; give os and architecture in Child.Platform")
	}
	d.Platform = &v1.Platform{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion, OSFeatures: f.OSFeatures,
	}
	return d, nil
}

type lazyIndex struct {
	mediaType types.MediaType
	manifest  []byte
	digest    v1.Hash
	images    []v1.Image
	digests   []v1.Hash // of images
}

func (x *lazyIndex) MediaType() (types.MediaType, error) { return x.mediaType, nil }
func (x *lazyIndex) Digest() (v1.Hash, error)            { return x.digest, nil }
func (x *lazyIndex) Size() (int64, error)                { return int64(len(x.manifest)), nil }
func (x *lazyIndex) RawManifest() ([]byte, error)        { return bytes.Clone(x.manifest), nil }

func (x *lazyIndex) IndexManifest() (*v1.IndexManifest, error) {
	return v1.ParseIndexManifest(bytes.NewReader(x.manifest))
}

func (x *lazyIndex) Image(h v1.Hash) (v1.Image, error) {
	if n := slices.Index(x.digests, h); n >= 0 {
		return x.images[n], nil
	}
	return nil, fmt.Errorf("image index %s: it has no image %s", x.digest, h)
}

// ImageIndex never finds one: the children of an index made here are images.
func (x *lazyIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return nil, fmt.Errorf("image index %s: it has no index %s", x.digest, h)
}
