package image

import (
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Join returns one index of images and indexes that were built elsewhere: on other machines, for other platforms. Rows of an index keep
// their descriptors as they are, with platform, annotations and media type, in their order, and so do the attestations among them; an
// image gets the platform that its config says. A row that two parts have in common is there once. Annotations are those of the new
// index; those of the parts are left behind. Its media type is found as by [NewIndex].
//
// Two different images for one platform are an error that names both. It fails, too, when there is no part, when the config of an image
// names no platform, and when a part's manifest cannot be read. An artifact that is no image (see [NewAttachment]) is a row without a
// platform. No layer is opened.
func Join(parts []Artifact, annotations map[string]string) (v1.ImageIndex, error) {
	if len(parts) == 0 {
		return nil, errors.New("image index: nothing to join; give at least one image or index")
	}
	var list []member
	for n, a := range parts {
		where := fmt.Sprintf("part %d of %d", n+1, len(parts))
		rows, err := membersOf(a, where)
		if err != nil {
			return nil, fmt.Errorf("image index: %s: %w", where, err)
		}
		for _, row := range rows {
			known := func(o member) bool {
				return o.desc.Digest == row.desc.Digest && (samePlatform(o.desc.Platform, row.desc.Platform) || hidden(o.desc.Platform) && hidden(row.desc.Platform))
			}
			if !slices.ContainsFunc(list, known) {
				list = append(list, row)
			}
		}
	}
	if len(list) == 0 {
		return nil, errors.New("image index: the indexes to be joined have no image")
	}
	return newIndex(list, annotations)
}

// membersOf lists the rows that a has, or the one that it is.
func membersOf(a Artifact, where string) ([]member, error) {
	_, d, err := a.Manifest()
	if err != nil {
		return nil, err
	}
	if a.Image != nil {
		if d.ArtifactType == "" {
			if d, err = describeChild(Child{Image: a.Image}); err != nil {
				return nil, err
			}
		}
		return []member{{desc: d, where: where, image: func() (v1.Image, error) { return a.Image, nil }}}, nil
	}
	m, err := a.Index.IndexManifest()
	if err != nil {
		return nil, err
	}
	list := make([]member, 0, len(m.Manifests))
	for _, row := range m.Manifests {
		c := member{desc: row, where: where}
		switch {
		case row.MediaType.IsImage():
			c.image = func() (v1.Image, error) { return a.Index.Image(row.Digest) }
		case row.MediaType.IsIndex():
			c.index = func() (v1.ImageIndex, error) { return a.Index.ImageIndex(row.Digest) }
		default:
			return nil, fmt.Errorf("its row %s is neither an image nor an index but %q", row.Digest, row.MediaType)
		}
		list = append(list, c)
	}
	return list, nil
}
