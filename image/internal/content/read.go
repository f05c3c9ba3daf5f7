package content

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
)

// Source gives blobs by descriptor.
type Source interface {
	// Open gives the bytes that d describes, which the caller verifies. Manifest says that d is a manifest or an index, which registries
	// keep apart from other blobs. Reading stops when ctx ends.
	Open(ctx context.Context, d v1.Descriptor, manifest bool) (io.ReadCloser, error)

	// Layer may wrap a layer before it is handed out.
	Layer(l v1.Layer, d v1.Descriptor) v1.Layer
}

// ReadManifest reads and verifies a manifest or an index.
func ReadManifest(ctx context.Context, src Source, d v1.Descriptor) ([]byte, error) {
	return image.ReadVerified(ctx, d, image.MaxManifestSize, func(ctx context.Context) (io.ReadCloser, error) {
		return src.Open(ctx, d, true)
	})
}

// NewImage returns the image with the manifest raw, which the caller has verified against d. The config is read when it is first
// needed, and the layers when they are opened.
func NewImage(src Source, d v1.Descriptor, raw []byte) (v1.Image, error) {
	if err := checkKind(d, raw, types.MediaType.IsImage, "manifests"); err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if m.Config.Digest == (v1.Hash{}) {
		return nil, fmt.Errorf("manifest %s: it names no config, so it is neither a container image nor an artifact", d.Digest)
	}
	for _, l := range m.Layers {
		if l.Size < 0 || l.Digest == (v1.Hash{}) {
			return nil, fmt.Errorf("manifest %s: a layer has the size %d and the digest %q", d.Digest, l.Size, l.Digest)
		}
	}
	return &storedImage{src: src, desc: d, raw: raw, manifest: m}, nil
}

// checkKind refuses a document that another reader could take for something else than its descriptor says: one whose own media
// type differs, or that has the list (not) which only the other kind has (CVE-2021-41190).
func checkKind(d v1.Descriptor, raw []byte, is func(types.MediaType) bool, not string) error {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if !is(d.MediaType) {
		return fmt.Errorf("manifest %s: its media type %q is not the one looked for", d.Digest, d.MediaType)
	}
	own := d.MediaType
	if v, ok := doc["mediaType"]; ok {
		if err := json.Unmarshal(v, &own); err != nil {
			return fmt.Errorf("manifest %s: mediaType: %w", d.Digest, err)
		}
	}
	if own != d.MediaType {
		return fmt.Errorf("manifest %s: it says that it is %q, and what refers to it says %q", d.Digest, own, d.MediaType)
	}
	if _, ok := doc[not]; ok {
		return fmt.Errorf("manifest %s: it is %q and has %q, which belongs to another kind of document", d.Digest, own, not)
	}
	return nil
}

type storedImage struct {
	src      Source
	desc     v1.Descriptor
	raw      []byte
	manifest *v1.Manifest // never handed out

	mu     sync.Mutex
	config []byte // nil until read
}

// Prepare makes sure that img is a container image and reads its config under a context; every later use of it needs none.
func Prepare(ctx context.Context, img v1.Image) error {
	if err := Container(img); err != nil {
		return err
	}
	if s, ok := img.(*storedImage); ok {
		_, err := s.readConfig(ctx)
		return err
	}
	return nil
}

// Container fails when img is an artifact of another kind: what belongs to an image and cannot be run.
func Container(img v1.Image) error {
	m, err := img.Manifest()
	if err != nil || image.IsContainerConfig(m.Config.MediaType) {
		return err
	}
	return fmt.Errorf("it is no container image but an artifact of type %q", cmp.Or(m.ArtifactType, string(m.Config.MediaType)))
}

func (s *storedImage) readConfig(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.config != nil {
		return s.config, nil
	}
	d := s.manifest.Config
	b, err := image.ReadVerified(ctx, d, image.MaxFileSize, func(ctx context.Context) (io.ReadCloser, error) {
		return s.src.Open(ctx, d, false)
	})
	if err != nil {
		return nil, err
	}
	s.config = b
	return b, nil
}

func (s *storedImage) MediaType() (types.MediaType, error) { return s.desc.MediaType, nil }
func (s *storedImage) Size() (int64, error)                { return int64(len(s.raw)), nil }
func (s *storedImage) Digest() (v1.Hash, error)            { return s.desc.Digest, nil }
func (s *storedImage) RawManifest() ([]byte, error)        { return bytes.Clone(s.raw), nil }
func (s *storedImage) ConfigName() (v1.Hash, error)        { return s.manifest.Config.Digest, nil }

func (s *storedImage) Manifest() (*v1.Manifest, error) {
	return v1.ParseManifest(bytes.NewReader(s.raw))
}

func (s *storedImage) RawConfigFile() ([]byte, error) {
	b, err := s.readConfig(context.Background())
	return bytes.Clone(b), err
}

func (s *storedImage) ConfigFile() (*v1.ConfigFile, error) {
	b, err := s.readConfig(context.Background())
	if err != nil {
		return nil, err
	}
	return v1.ParseConfigFile(bytes.NewReader(b))
}

// diffIDs are those that the config has. The blobs of an artifact that is no image are their own.
func (s *storedImage) diffIDs() ([]v1.Hash, error) {
	if !image.IsContainerConfig(s.manifest.Config.MediaType) {
		ids := make([]v1.Hash, len(s.manifest.Layers))
		for n, d := range s.manifest.Layers {
			ids[n] = d.Digest
		}
		return ids, nil
	}
	f, err := image.FileOf(s)
	if err != nil {
		return nil, err
	}
	if len(f.RootFS.DiffIDs) != len(s.manifest.Layers) {
		return nil, fmt.Errorf("image %s: its manifest has %d layers and its config %d diff IDs",
			s.desc.Digest, len(s.manifest.Layers), len(f.RootFS.DiffIDs))
	}
	return f.RootFS.DiffIDs, nil
}

func (s *storedImage) layer(d v1.Descriptor, diffID v1.Hash) v1.Layer {
	return s.src.Layer(image.NewLayer(image.LayerInfo{
		Digest: d.Digest, DiffID: diffID, Size: d.Size, MediaType: d.MediaType,
		OpenContext: func(ctx context.Context) (io.ReadCloser, error) {
			rc, err := s.src.Open(ctx, d, false)
			if err != nil {
				return nil, err
			}
			vr, err := image.Verify(rc, d.Digest, d.Size)
			if err != nil {
				rc.Close()
			}
			return vr, err
		},
	}), d)
}

func (s *storedImage) Layers() ([]v1.Layer, error) {
	ids, err := s.diffIDs()
	if err != nil {
		return nil, err
	}
	layers := make([]v1.Layer, len(ids))
	for n, d := range s.manifest.Layers {
		layers[n] = s.layer(d, ids[n])
	}
	return layers, nil
}

func (s *storedImage) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if h == s.manifest.Config.Digest {
		return s.layer(s.manifest.Config, h), nil
	}
	ids, err := s.diffIDs()
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(s.manifest.Layers, func(d v1.Descriptor) bool { return d.Digest == h })
	if n < 0 {
		return nil, fmt.Errorf("image %s: no layer has the digest %s", s.desc.Digest, h)
	}
	return s.layer(s.manifest.Layers[n], ids[n]), nil
}

func (s *storedImage) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	ids, err := s.diffIDs()
	if err != nil {
		return nil, err
	}
	n := slices.Index(ids, h)
	if n < 0 {
		return nil, fmt.Errorf("image %s: no layer has the diff ID %s", s.desc.Digest, h)
	}
	return s.layer(s.manifest.Layers[n], h), nil
}

// NewIndex returns the index raw, which the caller has verified against d. Its children are read when they are asked for.
func NewIndex(src Source, d v1.Descriptor, raw []byte) (v1.ImageIndex, error) {
	if err := checkKind(d, raw, types.MediaType.IsIndex, "layers"); err != nil {
		return nil, err
	}
	if _, err := v1.ParseIndexManifest(bytes.NewReader(raw)); err != nil {
		return nil, fmt.Errorf("index %s: %w", d.Digest, err)
	}
	return &storedIndex{src, d, raw}, nil
}

type storedIndex struct {
	src  Source
	desc v1.Descriptor
	raw  []byte
}

func (x *storedIndex) MediaType() (types.MediaType, error) { return x.desc.MediaType, nil }
func (x *storedIndex) Size() (int64, error)                { return int64(len(x.raw)), nil }
func (x *storedIndex) Digest() (v1.Hash, error)            { return x.desc.Digest, nil }
func (x *storedIndex) RawManifest() ([]byte, error)        { return bytes.Clone(x.raw), nil }

func (x *storedIndex) IndexManifest() (*v1.IndexManifest, error) {
	return v1.ParseIndexManifest(bytes.NewReader(x.raw))
}

func (x *storedIndex) child(h v1.Hash) (v1.Descriptor, []byte, error) {
	m, err := x.IndexManifest()
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	n := slices.IndexFunc(m.Manifests, func(d v1.Descriptor) bool { return d.Digest == h })
	if n < 0 {
		return v1.Descriptor{}, nil, fmt.Errorf("index %s: it has no child %s", x.desc.Digest, h)
	}
	raw, err := ReadManifest(context.Background(), x.src, m.Manifests[n])
	return m.Manifests[n], raw, err
}

func (x *storedIndex) Image(h v1.Hash) (v1.Image, error) {
	d, raw, err := x.child(h)
	if err != nil {
		return nil, err
	}
	return NewImage(x.src, d, raw)
}

func (x *storedIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	d, raw, err := x.child(h)
	if err != nil {
		return nil, err
	}
	return NewIndex(x.src, d, raw)
}
