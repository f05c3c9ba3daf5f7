package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// titleAnnotation names a file of an attachment (OCI image specification, annotations.md); oras writes and reads it.
const titleAnnotation = "org.opencontainers.image.title"

// Attachment describes files that belong to an image without being in it: a bill of materials, a signature, a test report
// (OCI image specification 1.1, manifest.md, "Guidelines for Artifact Usage").
type Attachment struct {
	// ArtifactType is the media type that says what this is: "application/spdx+json".
	ArtifactType string

	// Subject is the manifest or the index that the files are about; see [Artifact.Manifest]. Zero is an artifact that belongs to none.
	Subject v1.Descriptor

	Files       []AttachedFile
	Annotations map[string]string // of the manifest
}

// AttachedFile is one file of an [Attachment].
type AttachedFile struct {
	Name        string          // written as org.opencontainers.image.title; may be empty
	MediaType   types.MediaType // application/octet-stream when empty
	Data        []byte          // not copied: it must not change any more
	Annotations map[string]string
}

// NewAttachment returns the artifact that a describes: an OCI manifest with artifactType, subject, the empty configuration and a blob
// for each file. It is a [v1.Image] so that sinks and registries carry it like any other; it cannot be run, and its layers are the
// files as they are. One without files has the empty blob, as the specification recommends.
//
// It fails when ArtifactType or a file's media type is none, when Subject is not the descriptor of a manifest or an index, and when the
// manifest would be larger than [MaxManifestSize].
func NewAttachment(a Attachment) (v1.Image, error) {
	if err := checkMediaType(a.ArtifactType); err != nil {
		return nil, fmt.Errorf("attachment: ArtifactType: %w", err)
	}
	img := &lazyImage{mediaType: types.OCIManifestSchema1, configType: types.OCIEmptyJSON, config: []byte("{}")}
	manifest := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: a.ArtifactType, Annotations: a.Annotations,
	}
	if s := a.Subject; s.Digest != (v1.Hash{}) || s.MediaType != "" || s.Size != 0 {
		if !s.MediaType.IsImage() && !s.MediaType.IsIndex() || s.Digest.Hex == "" || s.Size <= 0 {
			return nil, fmt.Errorf("attachment: Subject has the media type %q, the digest %q and the size %d; give the descriptor that Artifact.Manifest returns", s.MediaType, s.Digest, s.Size)
		}
		manifest.Subject = &v1.Descriptor{MediaType: s.MediaType, Digest: s.Digest, Size: s.Size}
	}
	files := a.Files
	if len(files) == 0 {
		files = []AttachedFile{{MediaType: types.OCIEmptyJSON, Data: img.config}}
	}
	for _, f := range files {
		if err := img.attach(f, &manifest); err != nil {
			return nil, fmt.Errorf("attachment: file %q: %w", f.Name, err)
		}
	}
	var err error
	if img.configName, _, err = v1.SHA256(bytes.NewReader(img.config)); err != nil {
		return nil, fmt.Errorf("attachment: %w", err)
	}
	manifest.Config = v1.Descriptor{MediaType: types.OCIEmptyJSON, Size: int64(len(img.config)), Digest: img.configName, Data: img.config}
	if img.manifest, img.digest, err = encodeManifest(manifest); err != nil {
		return nil, fmt.Errorf("attachment: %w", err)
	}
	return img, nil
}

// attach adds a file as a layer, which is stored as it is.
func (i *lazyImage) attach(f AttachedFile, to *v1.Manifest) error {
	if f.MediaType == "" {
		f.MediaType = "application/octet-stream"
	}
	if err := checkMediaType(string(f.MediaType)); err != nil {
		return err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(f.Data))
	if err != nil {
		return err
	}
	d := v1.Descriptor{MediaType: f.MediaType, Digest: digest, Size: size, Annotations: f.Annotations}
	if f.Name != "" {
		d.Annotations = maps.Clone(f.Annotations)
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[titleAnnotation] = f.Name
	}
	to.Layers = append(to.Layers, d)
	i.digests, i.diffIDs = append(i.digests, digest), append(i.diffIDs, digest)
	i.layers = append(i.layers, NewLayer(LayerInfo{
		Digest: digest, DiffID: digest, Size: size, MediaType: f.MediaType,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Data)), nil },
	}))
	return nil
}

// checkMediaType accepts "type/subtype" (RFC 6838, 4.2).
func checkMediaType(s string) error {
	if s == "" {
		return errors.New(`it is empty; give a media type like "application/spdx+json"`)
	}
	got, params, err := mime.ParseMediaType(s)
	if err != nil || len(params) > 0 || !bytes.Contains([]byte(got), []byte("/")) {
		return fmt.Errorf(`%q is not a media type like "application/spdx+json"`, s)
	}
	return nil
}
