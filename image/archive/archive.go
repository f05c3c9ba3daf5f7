package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
	"github.com/stagewright/stagewright/platform"
)

// Options changes what [DockerWith] writes. The zero value is what [Docker] uses.
type Options struct {
	// Platform is the one whose image is taken out of an index. Zero is that of containers on this machine: its architecture, and Linux
	// unless it runs Windows. An index of a single image needs no match.
	Platform platform.Platform
}

func (o Options) platform() platform.Platform {
	if o.Platform.IsZero() {
		return content.HostPlatform()
	}
	return o.Platform
}

// Docker returns a sink that writes the tar file path for `docker load`, under the given names.
//
// The file is at the same time an OCI image layout and what `docker save` writes (manifest.json beside oci-layout and index.json, as
// Docker has done since version 25), so that every version of docker load, podman load, skopeo's docker-archive: and oci-archive: and
// containerd read it. Names are written as for `docker tag`; without any, the image is loaded by its digest alone. Directories of path that
// are missing are made.
//
// docker load takes one image. Of an index, that for this machine is written; see [DockerWith] for another, and [OCI] for all.
//
// Layers are written in the form that they have: one that is compressed with zstd is read by podman, skopeo, containerd and Docker since
// version 23.
//
// This and the other sinks of the package are [image.Reporter]s.
func Docker(path string, refs ...string) image.Sink { return DockerWith(path, Options{}, refs...) }

// DockerWith is [Docker] with options.
func DockerWith(path string, o Options, refs ...string) image.Sink {
	return &sink{kind: "docker archive", path: path, refs: slices.Clone(refs), options: o, docker: true}
}

// OCI returns a sink that writes the tar file path with an OCI image layout of an image, or of an index and all its images, under the
// given names, which are those of package layout.
func OCI(path string, refs ...string) image.Sink {
	return &sink{kind: "OCI archive", path: path, refs: slices.Clone(refs)}
}

type sink struct {
	kind    string
	path    string
	refs    []string
	options Options
	docker  bool
}

// String says where the sink writes.
func (s *sink) String() string { return s.kind + " " + s.path }

// Replaces is the file that belongs to this sink alone: two sinks of one build cannot both write it.
func (s *sink) Replaces() string { return s.path }

// Check implements [image.Checker].
func (s *sink) Check() error {
	_, err := content.ParseNames(s.refs)
	if s.path == "" {
		err = errNoPath
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

var errNoPath = errors.New("no path; name a file")

// Write implements [image.Sink].
func (s *sink) Write(ctx context.Context, a image.Artifact) error {
	_, err := s.Deliver(ctx, a, nil)
	return err
}

// Deliver implements [image.Reporter].
func (s *sink) Deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer)) (image.Delivery, error) {
	d := image.Delivery{Sink: s.String(), How: "there already"}
	t, err := s.tarball(ctx, a)
	if err != nil {
		return d, fmt.Errorf("%s: %w", s, err)
	}
	t.tell = tell
	written, err := s.replace(ctx, t)
	if err != nil {
		return d, fmt.Errorf("%s: %w", s, err)
	}
	d.Refs = t.names
	for _, p := range t.parts {
		switch {
		case p.blob == nil:
		case written:
			d.How, d.Blobs, d.Bytes = "written", d.Blobs+1, d.Bytes+p.blob.Size
		default:
			d.Skipped++
		}
	}
	return d, nil
}

// tarball lists what the archive is made of.
func (s *sink) tarball(ctx context.Context, a image.Artifact) (*tarball, error) {
	names, err := content.ParseNames(s.refs)
	if err != nil {
		return nil, err
	}
	if s.docker {
		if a.Image, err = content.Pick(a, s.options.platform()); err != nil {
			return nil, err
		}
		a.Index = nil
		if err := content.Container(a.Image); err != nil {
			return nil, fmt.Errorf("%w; docker load takes images alone, write an OCI archive or push to a registry", err)
		}
	}
	blobs, d, err := content.Collect(ctx, a)
	if err != nil {
		return nil, err
	}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: content.Rows(d, names)})
	if err != nil {
		return nil, err
	}
	t := &tarball{names: content.FullNames(names)}
	t.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	t.file("index.json", index)
	if s.docker {
		m, err := dockerManifest(a.Image, names)
		if err != nil {
			return nil, err
		}
		t.file("manifest.json", m)
	}
	t.blobs(blobs)
	return t, t.err
}

// replace writes the tarball unless the file has its bytes.
func (s *sink) replace(ctx context.Context, t *tarball) (written bool, err error) {
	fi, err := os.Stat(s.path)
	switch {
	case s.path == "":
		return false, errNoPath
	case err == nil && fi.IsDir():
		return false, errors.New("it is a directory; name a file in it, or use image/layout to write a directory")
	case err == nil && !fi.Mode().IsRegular():
		return false, errors.New("it is not a regular file; name a new file")
	case err == nil && t.equal(ctx, s.path, fi.Size()):
		return false, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	return true, t.create(ctx, s.path)
}

func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// blobs adds blobs and the directories that they lie in, without which skopeo fails for ordinary users: it gives those that it has to make
// itself to root.
func (t *tarball) blobs(blobs []content.Blob) {
	t.dir("blobs/")
	made := map[string]bool{}
	for _, b := range blobs {
		if !made[b.Digest.Algorithm] {
			made[b.Digest.Algorithm] = true
			t.dir("blobs/" + b.Digest.Algorithm + "/")
		}
		t.blob(blobName(b.Digest), b)
	}
}

// dockerManifest is manifest.json of `docker save`. Names are whole: `docker load` shortens them itself, and podman would take a short one
// for localhost's.
func dockerManifest(img v1.Image, names []content.Name) ([]byte, error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	e := entry{Config: blobName(m.Config.Digest), RepoTags: []string{}, Layers: []string{}}
	for _, n := range names {
		e.RepoTags = append(e.RepoTags, n.Full)
	}
	for n, l := range m.Layers {
		if !l.MediaType.IsDistributable() {
			return nil, fmt.Errorf("layer %d (%s) may not be distributed, and docker load needs every layer; push to a registry instead", n+1, l.Digest)
		}
		e.Layers = append(e.Layers, blobName(l.Digest))
	}
	return json.Marshal([]entry{e})
}
