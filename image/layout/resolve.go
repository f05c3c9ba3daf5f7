package layout

import (
	"context"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
	"github.com/stagewright/stagewright/platform"
)

// Resolved is what a name stands for in a layout, for one platform.
type Resolved struct {
	Top    v1.Hash  // of the layout's row: an index, or Digest
	Digest v1.Hash  // of Image's manifest
	Image  v1.Image // with its config in memory
}

// Resolve finds an image in the layout at path: that of the name ref (see [Read]), and of
// an index in it the one for the platform. Errors are those of Read, and one that lists the
// platforms that are there.
func Resolve(ctx context.Context, path, ref string, p platform.Platform) (Resolved, error) {
	r, err := resolve(ctx, path, ref, p)
	if err != nil {
		return Resolved{}, fmt.Errorf("OCI layout %s: %w", path, err)
	}
	return r, nil
}

func resolve(ctx context.Context, path, ref string, p platform.Platform) (Resolved, error) {
	if p.IsZero() {
		p = content.HostPlatform()
	}
	a, err := read(path, ref)
	if err != nil {
		return Resolved{}, err
	}
	r := Resolved{Image: a.Image}
	if a.Index != nil {
		if r.Top, err = a.Index.Digest(); err != nil {
			return Resolved{}, err
		}
		rows, have, err := content.Platforms(a.Index)
		if err != nil {
			return Resolved{}, err
		}
		n, ok := platform.Best(p, have)
		if !ok {
			return Resolved{}, noPlatform(p, have)
		}
		if r.Image, err = a.Index.Image(rows[n].Digest); err != nil {
			return Resolved{}, err
		}
	}
	if err := content.Prepare(ctx, r.Image); err != nil {
		return Resolved{}, err
	}
	if r.Digest, err = r.Image.Digest(); err != nil {
		return Resolved{}, err
	}
	if a.Index != nil {
		return r, nil
	}
	r.Top = r.Digest
	f, err := image.FileOf(r.Image)
	if err != nil {
		return Resolved{}, err
	}
	is := platform.Platform{OS: f.OS, Architecture: f.Architecture, Variant: f.Variant, OSVersion: f.OSVersion}
	if f.OS != "" && f.Architecture != "" && !is.Satisfies(p) {
		return Resolved{}, noPlatform(p, []platform.Platform{is})
	}
	return r, nil
}

func noPlatform(want platform.Platform, have []platform.Platform) error {
	names := make([]string, len(have))
	for i, p := range have {
		names[i] = p.String()
	}
	return fmt.Errorf("it has no image for %s; it has %s", want, strings.Join(names, ", "))
}
