package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// MediaTypes is the family of media types that an image is written in. Every current registry and runtime reads both.
type MediaTypes uint8

const (
	OCI    MediaTypes = iota // application/vnd.oci.image.*, the default
	Docker                   // application/vnd.docker.*, "Docker image manifest version 2, schema 2"
)

// Spec is what an image is made of.
type Spec struct {
	// Base gives the lowest layers; nil is scratch. Its manifest and its config are read, its layers are not.
	Base v1.Image

	// Layers lie on top of the base's, lowest first. Each must know its digest, diff ID, size and media type without being read.
	Layers []v1.Layer

	// File is the config blob, with the history of the base and of the own steps. Its RootFS is ignored: it follows from the layers.
	File File

	MediaTypes  MediaTypes
	Annotations map[string]string // of the manifest
}

// New returns the image that s describes. Manifest, config and digest are made at once and opening no layer; a layer is opened when it
// is read through the returned value. It fails when the base cannot be read or has not as many layers as diff IDs, when a layer does
// not know its digest, when one is compressed with zstd and MediaTypes is Docker, and when File cannot be written (see [File.Marshal]).
//
// The media types of the base's layers become those of the family in MediaTypes; digests and bytes stay as they are.
func New(s Spec) (v1.Image, error) {
	img := &lazyImage{mediaType: types.OCIManifestSchema1, configType: types.OCIConfigJSON}
	if s.MediaTypes == Docker {
		img.mediaType, img.configType = types.DockerManifestSchema2, types.DockerConfigJSON
	}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: img.mediaType, Layers: []v1.Descriptor{}, Annotations: s.Annotations}
	if s.Base != nil {
		if err := img.addBase(s.Base, s.MediaTypes, &manifest); err != nil {
			return nil, fmt.Errorf("image: base: %w", err)
		}
	}
	for i, l := range s.Layers {
		if err := img.addLayer(l, &manifest); err != nil {
			return nil, fmt.Errorf("image: layer %d of %d: %w", i+1, len(s.Layers), err)
		}
	}
	f := s.File
	f.RootFS = v1.RootFS{Type: "layers", DiffIDs: img.diffIDs}
	var err error
	if img.config, err = f.Marshal(); err != nil {
		return nil, err
	}
	if len(img.config) > MaxFileSize {
		return nil, fmt.Errorf("image: the config has %d bytes, the limit is %d; shorten labels, env or history", len(img.config), MaxFileSize)
	}
	img.configName, _, err = v1.SHA256(bytes.NewReader(img.config))
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	manifest.Config = v1.Descriptor{MediaType: img.configType, Size: int64(len(img.config)), Digest: img.configName}
	if img.manifest, img.digest, err = encodeManifest(manifest); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return img, nil
}

// encodeManifest returns the bytes of a manifest or an index and their digest.
func encodeManifest(m any) ([]byte, v1.Hash, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	if len(b) > MaxManifestSize {
		return nil, v1.Hash{}, fmt.Errorf("the manifest has %d bytes, registries accept %d; use fewer layers or annotations", len(b), MaxManifestSize)
	}
	digest, _, err := v1.SHA256(bytes.NewReader(b))
	return b, digest, err
}

// lazyImage holds its manifest and config as bytes, from which every other value is decoded afresh for each caller.
type lazyImage struct {
	mediaType  types.MediaType
	manifest   []byte
	digest     v1.Hash
	config     []byte
	configType types.MediaType
	configName v1.Hash
	layers     []v1.Layer
	digests    []v1.Hash // of layers
	diffIDs    []v1.Hash // of layers
}

func (i *lazyImage) addBase(base v1.Image, family MediaTypes, to *v1.Manifest) error {
	m, err := base.Manifest()
	if err != nil {
		return fmt.Errorf("reading its manifest: %w", err)
	}
	f, err := FileOf(base)
	if err != nil {
		return err
	}
	layers, err := base.Layers()
	if err != nil {
		return fmt.Errorf("listing its layers: %w", err)
	}
	if len(m.Layers) != len(f.RootFS.DiffIDs) || len(layers) != len(m.Layers) {
		return fmt.Errorf("its manifest has %d layers and its config %d diff IDs", len(m.Layers), len(f.RootFS.DiffIDs))
	}
	for n, d := range m.Layers {
		d.Data = nil
		l := layers[n]
		mt, err := family.of(d.MediaType)
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", n+1, len(m.Layers), err)
		}
		if mt != d.MediaType {
			d.MediaType = mt
			l = &typedLayer{l, mt}
		}
		i.layers = append(i.layers, l)
		i.digests = append(i.digests, d.Digest)
		i.diffIDs = append(i.diffIDs, f.RootFS.DiffIDs[n])
		to.Layers = append(to.Layers, d)
	}
	return nil
}

func (i *lazyImage) addLayer(l v1.Layer, to *v1.Manifest) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	diffID, err := l.DiffID()
	if err != nil {
		return err
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	mt, err := l.MediaType()
	if err != nil {
		return err
	}
	if digest.Hex == "" || diffID.Hex == "" || size < 0 {
		return fmt.Errorf("digest %q, diff ID %q and size %d must be known", digest, diffID, size)
	}
	named, err := familyOf(to.MediaType).of(mt)
	if err != nil {
		return err
	}
	if named != mt {
		mt = named
		l = &typedLayer{l, mt}
	}
	i.layers = append(i.layers, l)
	i.digests = append(i.digests, digest)
	i.diffIDs = append(i.diffIDs, diffID)
	to.Layers = append(to.Layers, v1.Descriptor{MediaType: mt, Size: size, Digest: digest})
	return nil
}

func familyOf(manifest types.MediaType) MediaTypes {
	if manifest == types.DockerManifestSchema2 {
		return Docker
	}
	return OCI
}

// of returns the name that the family has for a layer's media type, or the type itself where the other family has no such layer.
func (f MediaTypes) of(mt types.MediaType) (types.MediaType, error) {
	pairs := [...][2]types.MediaType{
		{types.OCILayer, types.DockerLayer},
		{types.OCIUncompressedLayer, types.DockerUncompressedLayer},
		{types.OCIRestrictedLayer, types.DockerForeignLayer},
	}
	for _, p := range pairs {
		if mt == p[0] || mt == p[1] {
			return p[f&1], nil
		}
	}
	if f == Docker && strings.HasSuffix(string(mt), "+zstd") {
		return "", fmt.Errorf("it is compressed with zstd (%s), which Docker's media types have no name for; use image.OCI, or image.Gzip, with Force for the layers of a base", mt)
	}
	return mt, nil
}

func (i *lazyImage) MediaType() (types.MediaType, error) { return i.mediaType, nil }
func (i *lazyImage) Size() (int64, error)                { return int64(len(i.manifest)), nil }
func (i *lazyImage) Digest() (v1.Hash, error)            { return i.digest, nil }
func (i *lazyImage) ConfigName() (v1.Hash, error)        { return i.configName, nil }
func (i *lazyImage) RawManifest() ([]byte, error)        { return bytes.Clone(i.manifest), nil }
func (i *lazyImage) RawConfigFile() ([]byte, error)      { return bytes.Clone(i.config), nil }
func (i *lazyImage) Layers() ([]v1.Layer, error)         { return slices.Clone(i.layers), nil }

func (i *lazyImage) Manifest() (*v1.Manifest, error) {
	return v1.ParseManifest(bytes.NewReader(i.manifest))
}

func (i *lazyImage) ConfigFile() (*v1.ConfigFile, error) {
	return v1.ParseConfigFile(bytes.NewReader(i.config))
}

// LayerByDigest also finds the config blob, as go-containerregistry's own images do.
func (i *lazyImage) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if h == i.configName {
		return i.configLayer(), nil
	}
	return i.find(i.digests, h, "digest")
}

func (i *lazyImage) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	return i.find(i.diffIDs, h, "diff ID")
}

func (i *lazyImage) find(in []v1.Hash, h v1.Hash, what string) (v1.Layer, error) {
	if n := slices.Index(in, h); n >= 0 {
		return i.layers[n], nil
	}
	return nil, fmt.Errorf("image %s: no layer has the %s %s", i.digest, what, h)
}

func (i *lazyImage) configLayer() v1.Layer {
	return NewLayer(LayerInfo{
		Digest: i.configName, DiffID: i.configName, Size: int64(len(i.config)), MediaType: i.configType,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(i.config)), nil },
	})
}
