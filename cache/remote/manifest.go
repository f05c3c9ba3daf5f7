package remote

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/cache"
)

// What is in a registry: FORMAT.md, "Manifest".
const (
	artifactType = "application/vnd.stagewright.cache.v1"
	indexType    = "application/vnd.stagewright.cache.index.v1+zstd"
	blobType     = "application/octet-stream"
	emptyType    = "application/vnd.oci.empty.v1+json"

	versionNote = "vnd.stagewright.cache"
	tagNote     = "vnd.stagewright.cache.tag"
	createdNote = "org.opencontainers.image.created"
	version     = "1"

	maxBlobs = 4000 // that one manifest names: there are registries that refuse more
)

// The configs of manifests: the empty one of OCI artifacts, and, for registries that want the config of an image, one that says as little.
const (
	emptyConfig = "{}"
	imageConfig = `{"architecture":"unknown","config":{},"os":"unknown","rootfs":{"diff_ids":[],"type":"layers"}}`
)

// The ending of a tag says what is under it, and, roughly, when it was written: w of a writer, u of a union, twelve digits of the millisecond, 16 that are random.
var endings = regexp.MustCompile(`^[uw][0-9a-f]{28}$`)

func isEnding(s string) bool { return endings.MatchString(s) }

func newEnding(kind byte, now time.Time) string {
	var random [8]byte
	rand.Read(random[:])
	return fmt.Sprintf("%c%012x%x", kind, uint64(now.UnixMilli())&(1<<48-1), random)
}

func ociHash(d cache.Digest) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: d.Hex()} }

func descriptor(d cache.Digest, size int64) v1.Descriptor {
	return v1.Descriptor{MediaType: blobType, Digest: ociHash(d), Size: size}
}

func digestOf(data []byte) cache.Digest { return sha256.Sum256(data) }

func digestFrom(h v1.Hash) (cache.Digest, error) { return cache.ParseDigest(h.String()) }

// manifest makes the manifest of an index. plain is the form for registries that know no artifacts.
func manifest(tag string, now time.Time, idx []byte, x *index, plain bool) ([]byte, v1.Descriptor, error) {
	config, configType, layer := emptyConfig, types.MediaType(emptyType), types.MediaType(blobType)
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType,
		Annotations: map[string]string{versionNote: version, tagNote: tag, createdNote: now.UTC().Format(time.RFC3339)},
	}
	first := v1.Descriptor{MediaType: indexType, Digest: ociHash(digestOf(idx)), Size: int64(len(idx))}
	if plain {
		config, configType, layer = imageConfig, types.OCIConfigJSON, types.OCIUncompressedLayer
		m.ArtifactType, first.MediaType = "", layer
	}
	m.Config = v1.Descriptor{MediaType: configType, Digest: ociHash(digestOf([]byte(config))), Size: int64(len(config))}
	m.Layers = append(m.Layers, first)
	for _, b := range x.content() {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: layer, Digest: ociHash(b.digest), Size: b.size})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	return raw, v1.Descriptor{
		MediaType: types.OCIManifestSchema1, ArtifactType: m.ArtifactType, Digest: ociHash(digestOf(raw)), Size: int64(len(raw)),
	}, nil
}

// content is all that a manifest names beside its index: the blobs, and those of long records.
func (x *index) content() []blob {
	var list []blob
	seen := map[cache.Digest]bool{}
	add := func(b blob) {
		if !seen[b.digest] {
			seen[b.digest] = true
			list = append(list, b)
		}
	}
	for _, r := range x.records {
		if !r.blob.IsZero() {
			add(blob{r.blob, r.time, r.size})
		}
	}
	for _, b := range x.blobs {
		add(b)
	}
	return list
}

var errForeign = errors.New("it is not of this cache format")

// indexOf finds the index in a manifest that anybody may have written.
func indexOf(raw []byte) (v1.Descriptor, error) {
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return v1.Descriptor{}, err
	}
	if m.Annotations[versionNote] != version || len(m.Layers) == 0 {
		return v1.Descriptor{}, errForeign
	}
	d := m.Layers[0]
	if d.Size < 0 || d.Size > maxIndex {
		return v1.Descriptor{}, fmt.Errorf("its index has %d bytes, at most %d are read", d.Size, maxIndex)
	}
	if _, err := digestFrom(d.Digest); err != nil {
		return v1.Descriptor{}, err
	}
	return d, nil
}
