package dockerfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/stage"
)

// contexts are the named contexts under the names by which they are looked up.
type contexts struct {
	sources map[string]stage.Source
	refs    map[string]string
}

func newContexts(o Options, p *problems) contexts {
	c := contexts{map[string]stage.Source{}, map[string]string{}}
	check := func(name string) string {
		key := familiar(name)
		switch {
		case strings.EqualFold(name, "context") || strings.EqualFold(name, "scratch"):
			p.add(stage.Position{}, "", fmt.Errorf("a named context cannot be called %q", name), "the build context itself is an option of the build; give this one another name")
		case c.sources[key] != nil || c.refs[key] != "":
			p.add(stage.Position{}, "", fmt.Errorf("two named contexts are called %q", key), "give one of them another name")
		}
		return key
	}
	for _, name := range slices.Sorted(maps.Keys(o.Contexts)) {
		key := check(name)
		if o.Contexts[name] == nil {
			p.add(stage.Position{}, "", fmt.Errorf("the named context %q is nil", name), "give a source: stage.Dir, stage.FS, a Stage")
			continue
		}
		c.sources[key] = o.Contexts[name]
	}
	for _, name := range slices.Sorted(maps.Keys(o.ContextRefs)) {
		ref := strings.TrimPrefix(o.ContextRefs[name], "docker-image://")
		if ref == "" {
			p.add(stage.Position{}, "", fmt.Errorf("the named context %q has an empty reference", name), `give one, as in "docker-image://alpine:3.22"`)
			continue
		}
		c.refs[check(name)] = ref
	}
	return c
}

// has reports whether a name is that of a context.
func (c contexts) has(name string) bool {
	key := familiar(name)
	return c.sources[key] != nil || c.refs[key] != ""
}

// names are all names, in both tables.
func (c contexts) names() []string {
	return slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Keys(c.sources)), slices.Collect(maps.Keys(c.refs)))))
}

// familiar is the short form of an image reference, under which named contexts
// are looked up: "docker.io/library/alpine:latest" is "alpine".
func familiar(ref string) string {
	for _, registry := range []string{"docker.io/", "index.docker.io/"} {
		if rest, ok := strings.CutPrefix(ref, registry); ok {
			ref = rest
			break
		}
	}
	if rest, ok := strings.CutPrefix(ref, "library/"); ok && !strings.Contains(rest, "/") {
		ref = rest
	}
	return strings.TrimSuffix(ref, ":latest")
}
