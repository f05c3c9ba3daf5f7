package serve

import (
	"context"
	"fmt"
	"strings"

	"github.com/stagewright/stagewright/image"
)

// Images returns a handler for artifacts that exist, by name: "app", "team/app:1.0". The tag defaults to latest; there is no registry in a
// name, because clients put the handler's own address in front. What an attachment among them refers to lists it as a referrer.
//
// It fails when a name is none, when two are for one tag, and when a manifest cannot be read.
func Images(images map[string]image.Artifact) (*Handler, error) {
	return ImagesWith(Options{}, images)
}

// ImagesWith is [Images] with options. What clients want under other names, o.Source is asked for.
func ImagesWith(o Options, images map[string]image.Artifact) (*Handler, error) {
	h := New(o)
	seen := map[name]string{}
	for ref, a := range images {
		n, err := parseName(ref)
		if err != nil {
			return nil, err
		}
		if other, twice := seen[n]; twice {
			return nil, fmt.Errorf("serve: %q and %q are both %s:%s", ref, other, n.repo, n.reference)
		}
		seen[n] = ref
		e, err := describe(context.Background(), n, a)
		if err != nil {
			return nil, fmt.Errorf("serve: %q: %w", ref, err)
		}
		e.pinned = true
		h.held = append(h.held, e)
	}
	return h, nil
}

func parseName(ref string) (name, error) {
	repo, tag, ok := strings.Cut(ref, ":")
	if !ok {
		tag = "latest"
	}
	t := target{kind: manifests, repo: repo, reference: tag}
	if t.byDigest() || t.check() != nil {
		return name{}, fmt.Errorf("serve: %q is not a name like app:1.0 or team/app, without a registry", ref)
	}
	return name{repo, tag}, nil
}
