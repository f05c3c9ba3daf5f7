package image

import (
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// CompressionFormat is how the bytes of a layer are stored.
type CompressionFormat uint8

const (
	Gzip         CompressionFormat = iota // every registry and runtime reads it
	Zstd                                  // smaller and faster to unpack; Docker reads it since version 23, and Docker's media types have no name for it
	Uncompressed                          // the tar as it is
)

// String names the format: "gzip", "zstd", "uncompressed".
func (f CompressionFormat) String() string {
	names := [...]string{"gzip", "zstd", "uncompressed"}
	if int(f) >= len(names) {
		return fmt.Sprintf("format %d", uint8(f))
	}
	return names[f]
}

// Compression says how layers are stored. The zero value is gzip of level 6, and the layers of a base image as they are.
//
// The bytes depend on the content, the format and the level alone: not on the machine, nor on the number of its processors.
type Compression struct {
	Format CompressionFormat

	// Level is 1 (fastest) to 9 (smallest) for gzip and 1 to 22 for zstd; 0 is 6 and 3, as of their programs. The compressor of zstd tells
	// four levels apart: 1 to 2, 3 to 5, 6 to 9, and above. Without compression it must be 0.
	Level int

	// Force stores the layers of base images in this form, too: all of them, whatever form they have, so that a base layer of the same
	// format has this level afterwards. Diff IDs, config and history stay. It costs reading each base layer once in the life of a cache,
	// and a registry that has the base has none of the new blobs. Layers that may not be distributed (those of Windows) stay as they are.
	Force bool
}

// Validate reports a format that does not exist, and a level that the format does not have.
func (c Compression) Validate() error {
	most := 0
	switch c.Format {
	case Gzip:
		most = 9
	case Zstd:
		most = 22
	case Uncompressed:
		if c.Level != 0 {
			return fmt.Errorf("compression: level %d of %s layers; leave it 0", c.Level, c.Format)
		}
	default:
		return fmt.Errorf("compression: %s; want image.Gzip, image.Zstd or image.Uncompressed", c.Format)
	}
	if c.Level < 0 || c.Level > most {
		return fmt.Errorf("compression: level %d of %s; want 1 to %d, or 0 for the default", c.Level, c.Format, most)
	}
	return nil
}

// MediaType is the OCI media type of a layer in the format. [New] writes it in the words of the image's own family.
func (f CompressionFormat) MediaType() types.MediaType {
	switch f {
	case Zstd:
		return types.OCILayerZStd
	case Uncompressed:
		return types.OCIUncompressedLayer
	}
	return types.OCILayer
}

// ReplaceLayers returns img with other forms of its layers: layers[i], where it is not nil, in place of the layer i. The config stays, byte
// by byte, and so do the annotations of the manifest and its media types. No layer is opened. It fails when the numbers of layers
// differ, when a replacement has another diff ID, and where [New] would.
func ReplaceLayers(img v1.Image, layers []v1.Layer) (v1.Image, error) {
	r, err := replaceLayers(img, layers)
	if err != nil {
		return nil, fmt.Errorf("image: replacing layers: %w", err)
	}
	return r, nil
}

func replaceLayers(img v1.Image, layers []v1.Layer) (v1.Image, error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	old, err := img.Layers()
	if err != nil {
		return nil, err
	}
	f, err := FileOf(img)
	if err != nil {
		return nil, err
	}
	if len(old) != len(m.Layers) || len(old) != len(f.RootFS.DiffIDs) || len(layers) != len(old) {
		return nil, fmt.Errorf("the manifest has %d layers, the config %d diff IDs, and there are %d to replace them", len(m.Layers), len(f.RootFS.DiffIDs), len(layers))
	}
	r := &lazyImage{mediaType: m.MediaType, configType: m.Config.MediaType, configName: m.Config.Digest}
	if r.mediaType, err = img.MediaType(); err != nil {
		return nil, err
	}
	if r.config, err = img.RawConfigFile(); err != nil {
		return nil, err
	}
	rows := m.Layers
	m.Layers = make([]v1.Descriptor, 0, len(rows))
	for n, l := range layers {
		if l == nil {
			r.layers, r.digests, r.diffIDs = append(r.layers, old[n]), append(r.digests, rows[n].Digest), append(r.diffIDs, f.RootFS.DiffIDs[n])
			m.Layers = append(m.Layers, rows[n])
			continue
		}
		if err := r.addLayer(l, m); err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", n+1, len(layers), err)
		}
	}
	if !slices.Equal(r.diffIDs, f.RootFS.DiffIDs) {
		return nil, fmt.Errorf("the diff IDs would be %v, and the config says %v", r.diffIDs, f.RootFS.DiffIDs)
	}
	if r.manifest, r.digest, err = encodeManifest(m); err != nil {
		return nil, err
	}
	return r, nil
}
