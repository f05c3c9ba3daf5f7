package content

import (
	"fmt"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
)

// HostPlatform is that of containers on this machine: its architecture, and Linux unless it runs Windows.
func HostPlatform() platform.Platform {
	p := platform.Host()
	if runtime.GOOS != "windows" {
		p.OS, p.OSVersion = "linux", ""
	}
	return p
}

// Attached reports whether a row of an index is an artifact that belongs to an image, and no image: one with an artifact type of its
// own. go-containerregistry, and so crane and ko, give the rows of images the media type of their config there.
func Attached(d v1.Descriptor) bool {
	return d.ArtifactType != "" && !image.IsContainerConfig(types.MediaType(d.ArtifactType))
}

// Platforms lists the images of an index that say, or leave open, what they run on, in its order. Attestations, whose platform is
// unknown/unknown, and artifacts that are no images are left out.
func Platforms(idx v1.ImageIndex) ([]v1.Descriptor, []platform.Platform, error) {
	m, err := idx.IndexManifest()
	if err != nil {
		return nil, nil, err
	}
	var rows []v1.Descriptor
	var have []platform.Platform
	for _, d := range m.Manifests {
		p := d.Platform
		if !d.MediaType.IsImage() || Attached(d) || p != nil && p.OS == "unknown" {
			continue
		}
		if p == nil {
			p = &v1.Platform{}
		}
		rows = append(rows, d)
		have = append(have, platform.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion})
	}
	return rows, have, nil
}

// Pick returns the image of a, or that of an index for a platform. An index of a single image needs no match.
func Pick(a image.Artifact, want platform.Platform) (v1.Image, error) {
	if a.Image != nil && a.Index == nil {
		return a.Image, nil
	}
	if a.Index == nil || a.Image != nil {
		return nil, image.ErrArtifact
	}
	rows, have, err := Platforms(a.Index)
	if err != nil {
		return nil, err
	}
	n := 0
	if len(have) != 1 {
		var ok bool
		if n, ok = platform.Best(want, have); !ok {
			return nil, fmt.Errorf("the index has no image for %s, only for %v; choose one in Options.Platform", want, have)
		}
	}
	return a.Index.Image(rows[n].Digest)
}
