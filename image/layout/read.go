package layout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
)

// ErrNotFound is the error of a name that a layout does not have.
var ErrNotFound = errors.New("no such image in the layout")

// Read returns the image or index that the layout in the directory path has under the name ref. The name is a whole name as for
// `docker tag`, a tag as skopeo takes it, or a digest; empty means the only row of the layout, or the only one of an image beside those
// of artifacts that belong to it.
//
// The manifest is read and verified at once, the config when it is first needed, and a layer when it is opened: its reader fails at
// its end when the bytes are not those of its digest. Errors wrap [ErrNotLayout], [ErrNotFound] or [*image.ContentError].
func Read(path, ref string) (image.Artifact, error) {
	a, err := read(path, ref)
	if err != nil {
		return image.Artifact{}, fmt.Errorf("OCI layout %s: %w", path, err)
	}
	return a, nil
}

func read(path, ref string) (image.Artifact, error) {
	st, err := inspect(path)
	switch {
	case err != nil:
		return image.Artifact{}, err
	case st == missing:
		return image.Artifact{}, fmt.Errorf("%w: there is no such directory", ErrNotLayout)
	case st == blank:
		return image.Artifact{}, fmt.Errorf("%w: the directory is empty", ErrNotLayout)
	}
	x, err := readIndex(path)
	if err != nil {
		return image.Artifact{}, err
	}
	d, err := x.find(ref)
	if err != nil {
		return image.Artifact{}, err
	}
	src := source{path}
	raw, err := content.ReadManifest(context.Background(), src, d)
	if err != nil {
		return image.Artifact{}, err
	}
	if d.MediaType.IsIndex() {
		idx, err := content.NewIndex(src, d, raw)
		return image.Artifact{Index: idx}, err
	}
	img, err := content.NewImage(src, d, raw)
	return image.Artifact{Image: img}, err
}

func (x *index) find(ref string) (v1.Descriptor, error) {
	if ref == "" {
		images := slices.DeleteFunc(slices.Clone(x.descs), content.Attached)
		for _, only := range [][]v1.Descriptor{x.descs, images} {
			if len(only) == 1 {
				return only[0], nil
			}
		}
		return v1.Descriptor{}, fmt.Errorf("%w: it has %d images (%s), so a name is needed", ErrNotFound, len(x.descs), x.names())
	}
	full := ""
	if n, err := content.ParseName(ref); err == nil {
		full = n.Full
	}
	for _, match := range []func(v1.Descriptor) bool{
		func(d v1.Descriptor) bool { return d.Annotations[content.ImageName] == ref },
		func(d v1.Descriptor) bool { return d.Annotations[content.RefName] == ref || d.Digest.String() == ref },
		func(d v1.Descriptor) bool { return full != "" && d.Annotations[content.ImageName] == full },
	} {
		for _, d := range x.descs {
			if match(d) {
				return d, nil
			}
		}
	}
	return v1.Descriptor{}, fmt.Errorf("%w: %q; it has %s", ErrNotFound, ref, x.names())
}

// names lists what the layout has, for a message.
func (x *index) names() string {
	const most = 20
	var names []string
	for _, d := range x.descs {
		if len(names) == most {
			names = append(names, fmt.Sprintf("and %d more", len(x.descs)-most))
			break
		}
		switch {
		case d.Annotations[content.ImageName] != "":
			names = append(names, d.Annotations[content.ImageName])
		case d.Annotations[content.RefName] != "":
			names = append(names, d.Annotations[content.RefName])
		default:
			names = append(names, d.Digest.String())
		}
	}
	if len(names) == 0 {
		return "no image"
	}
	return strings.Join(names, ", ")
}
