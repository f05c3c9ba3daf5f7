package content

import (
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The annotations by which a row of an index.json names an image: containerd and Docker read the first, which is the whole name; skopeo,
// umoci and podman the second, which BuildKit fills with the tag.
const (
	ImageName = "io.containerd.image.name"
	RefName   = "org.opencontainers.image.ref.name"
)

// Name is a parsed name of an image.
type Name struct {
	Full string // "docker.io/library/app:1.0"
	Tag  string // "1.0"
}

// ParseName reads a name as `docker tag` does: the registry defaults to docker.io and the tag to latest.
func ParseName(ref string) (Name, error) {
	if strings.Contains(ref, "@") {
		return Name{}, fmt.Errorf("%q names an image by digest; a digest follows from the content, write a tag like %q",
			ref, strings.SplitN(ref, "@", 2)[0]+":latest")
	}
	t, err := name.NewTag(ref, name.WeakValidation)
	if err != nil {
		return Name{}, fmt.Errorf("%q is not an image name like app:1.0 or registry.example.com/app:1.0: %w", ref, err)
	}
	return Name{Full: DockerName(t.Name()), Tag: t.TagStr()}, nil
}

// DockerName writes Docker Hub as docker.io, which is how Docker and containerd spell it.
func DockerName(s string) string {
	if rest, ok := strings.CutPrefix(s, name.DefaultRegistry+"/"); ok {
		return "docker.io/" + rest
	}
	return s
}

// ParseNames parses each of refs, and drops the second of two that are equal.
func ParseNames(refs []string) ([]Name, error) {
	var names []Name
	seen := map[string]bool{}
	for _, r := range refs {
		n, err := ParseName(r)
		if err != nil {
			return nil, err
		}
		if !seen[n.Full] {
			seen[n.Full] = true
			names = append(names, n)
		}
	}
	return names, nil
}

// Rows returns a row of an index.json for each name, or one without a name.
func Rows(d v1.Descriptor, names []Name) []v1.Descriptor {
	if len(names) == 0 {
		return []v1.Descriptor{d}
	}
	rows := make([]v1.Descriptor, len(names))
	for i, n := range names {
		rows[i] = d
		rows[i].Annotations = map[string]string{ImageName: n.Full, RefName: n.Tag}
	}
	return rows
}

// Unnamed reports whether a row has no name.
func Unnamed(d v1.Descriptor) bool {
	return d.Annotations[ImageName] == "" && d.Annotations[RefName] == ""
}

// SameRow reports whether two rows are for one name, so that writing one replaces the other. A row that gives the tag alone, as skopeo
// writes it, is met by any name with that tag, because that is how its reader would look for it. Of rows without a name, those of images
// replace each other; an artifact that is no image stands beside them, and replaces itself alone.
func SameRow(a, b v1.Descriptor) bool {
	switch {
	case Unnamed(a) != Unnamed(b):
		return false
	case Unnamed(a) && (Attached(a) || Attached(b)):
		return a.Digest == b.Digest
	case a.Annotations[ImageName] != "" && b.Annotations[ImageName] != "":
		return a.Annotations[ImageName] == b.Annotations[ImageName]
	}
	return a.Annotations[RefName] == b.Annotations[RefName]
}
