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

	// Annotations are those of the descriptor in the index; the image's manifest has its own.
	Annotations map[string]string
}

// NewIndex returns an index of the images in the order given. Its media type is Docker's manifest list when every image has Docker's
// media types and there is no annotation, which that list cannot have, else that of an OCI index. It fails when there is no child, when two are for the same platform (a reader could only find
// the first), when a platform is neither given nor in the config, and when a child's manifest or config cannot be read. Features of the
// operating system (os.features) come from the config. No layer is opened.
func NewIndex(children []Child, annotations map[string]string) (v1.ImageIndex, error) {
	if len(children) == 0 {
		return nil, errors.New("image index: no image given; an index has at least one")
	}
	list := make([]member, len(children))
	for n, c := range children {
		where := fmt.Sprintf("child %d of %d", n+1, len(children))
		if c.Image == nil {
			return nil, fmt.Errorf("image index: %s has no image", where)
		}
		d, err := describeChild(c)
		if err != nil {
			return nil, fmt.Errorf("image index: %s: %w", where, err)
		}
		list[n] = member{desc: d, where: where, image: func() (v1.Image, error) { return c.Image, nil }}
	}
	return newIndex(list, annotations)
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
	d.Annotations = c.Annotations
	return d, nil
}

// member is one row of an index in the making, and how its image, or the index that it is itself, is had.
type member struct {
	desc  v1.Descriptor
	where string // what it is called in errors
	image func() (v1.Image, error)
	index func() (v1.ImageIndex, error)
}

// newIndex makes an index whose rows are the descriptors of list.
func newIndex(list []member, annotations map[string]string) (v1.ImageIndex, error) {
	x := &lazyIndex{mediaType: types.DockerManifestList, members: list}
	if len(annotations) > 0 {
		x.mediaType = types.OCIImageIndex
	}
	m := v1.IndexManifest{SchemaVersion: 2, Annotations: annotations, Manifests: []v1.Descriptor{}}
	for n, c := range list {
		if o := slices.IndexFunc(list[:n], func(o member) bool { return samePlatform(o.desc.Platform, c.desc.Platform) }); o >= 0 {
			return nil, fmt.Errorf("image index: %s (%s) and %s (%s) are both for %s; a reader could only find the first",
				list[o].where, list[o].desc.Digest, c.where, c.desc.Digest, c.desc.Platform)
		}
		if c.desc.MediaType != types.DockerManifestSchema2 || len(c.desc.Annotations) > 0 {
			x.mediaType = types.OCIImageIndex
		}
		m.Manifests = append(m.Manifests, c.desc)
	}
	m.MediaType = x.mediaType
	var err error
	if x.manifest, x.digest, err = encodeManifest(m); err != nil {
		return nil, fmt.Errorf("image index: %w", err)
	}
	return x, nil
}

// samePlatform reports whether a reader that looks for the one takes the other. Rows without a platform, and those of attestations
// (unknown/unknown), are looked for by other means.
func samePlatform(a, b *v1.Platform) bool {
	if hidden(a) || hidden(b) {
		return false
	}
	canonical := func(p *v1.Platform) platform.Platform {
		return platform.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion}.Normalize()
	}
	return canonical(a) == canonical(b) && slices.Equal(slices.Sorted(slices.Values(a.OSFeatures)), slices.Sorted(slices.Values(b.OSFeatures)))
}

// hidden reports whether no reader finds a row by its platform.
func hidden(p *v1.Platform) bool { return p == nil || p.OS == "" || p.OS == "unknown" }

type lazyIndex struct {
	mediaType types.MediaType
	manifest  []byte
	digest    v1.Hash
	members   []member
}

func (x *lazyIndex) MediaType() (types.MediaType, error) { return x.mediaType, nil }
func (x *lazyIndex) Digest() (v1.Hash, error)            { return x.digest, nil }
func (x *lazyIndex) Size() (int64, error)                { return int64(len(x.manifest)), nil }
func (x *lazyIndex) RawManifest() ([]byte, error)        { return bytes.Clone(x.manifest), nil }

func (x *lazyIndex) IndexManifest() (*v1.IndexManifest, error) {
	return v1.ParseIndexManifest(bytes.NewReader(x.manifest))
}

func (x *lazyIndex) Image(h v1.Hash) (v1.Image, error) {
	for _, c := range x.members {
		if c.desc.Digest == h && c.image != nil {
			return c.image()
		}
	}
	return nil, fmt.Errorf("image index %s: it has no image %s", x.digest, h)
}

func (x *lazyIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	for _, c := range x.members {
		if c.desc.Digest == h && c.index != nil {
			return c.index()
		}
	}
	return nil, fmt.Errorf("image index %s: it has no index %s", x.digest, h)
}
