package stage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
)

// effective returns the platform that a stage has when p is asked for: its own
// pin, else that of the stage it is built from.
func (c *compiler) effective(r *root, p platform.Platform) platform.Platform {
	key := pinKey{r, p}
	if e, ok := c.graph.pins[key]; ok {
		return e
	}
	e := p
	base := c.among(r, p)
	switch {
	case base != nil:
		e = c.effective(base.root, p)
	case r.pins():
		if pin, err := c.pin(r, p, false); err == nil {
			e = pin
		}
	case r.base != nil:
		e = c.effective(r.base.root, p)
	}
	c.graph.pins[key] = e
	return e
}

// pins reports whether the stage has a platform of its own. In a Dockerfile FROM
// --platform is checked, but counts for images only.
func (r *root) pins() bool {
	return r.pinText != "" && (r.rules == nil || !r.scratch && r.base == nil)
}

// among is the stage that a base's reference means for a target; nil when it means an
// image.
func (c *compiler) among(r *root, target platform.Platform) *link {
	if len(r.among) == 0 || r.ref == "" {
		return nil
	}
	ref, err := c.globalScope(r, target, false).expand(r.ref)
	if err != nil {
		return nil
	}
	return r.among[ref].last
}

// pin is the platform that a stage is pinned to by a text.
func (c *compiler) pin(r *root, target platform.Platform, report bool) (platform.Platform, error) {
	text, err := c.globalScope(r, target, report).expand(r.pinText)
	if err != nil {
		return platform.Platform{}, err
	}
	if text == "" {
		return platform.Platform{}, fmt.Errorf("the platform %q is empty", r.pinText)
	}
	if r.rules != nil {
		return platform.ParseFor(text, c.opts.BuildPlatform)
	}
	return platform.Parse(text)
}

// point names a link on a platform, for a target where the link can see it.
func (c *compiler) point(l *link, p, target platform.Platform) point {
	if p == target || !c.seesTarget(l) {
		target = platform.Platform{}
	}
	return point{l, c.graph.number(p), c.graph.number(target)}
}

// platformID is the number of a platform in a graph, from 1; 0 is the zero one.
type platformID int

// number returns the number of a platform, a new one where it has none.
func (g *Graph) number(p platform.Platform) platformID {
	id, ok := g.numbered(p)
	if !ok {
		g.platforms = append(g.platforms, p)
		id = platformID(len(g.platforms))
	}
	return id
}

// numbered returns the number of a platform that has one.
func (g *Graph) numbered(p platform.Platform) (platformID, bool) {
	if p == (platform.Platform{}) {
		return 0, true
	}
	i := slices.Index(g.platforms, p)
	return platformID(i + 1), i >= 0
}

// seesTarget reports whether what a link describes can depend on the target platform
// beside its own: it, or something that it stands on or reads, declares a TARGET
// argument or belongs to no platform of its own.
func (c *compiler) seesTarget(l *link) bool {
	if sees, ok := c.sees[l]; ok {
		return sees
	}
	var todo []*link
	sees := false
	for x := l; x != nil; x = x.prev {
		if known, ok := c.sees[x]; ok {
			sees = known
			break
		}
		todo = append(todo, x)
	}
	for _, x := range slices.Backward(todo) {
		c.sees[x] = true // a stage that needs itself is a mistake, reported elsewhere
		sees = sees || c.linkSeesTarget(x)
		c.sees[x] = sees
	}
	return sees
}

func (c *compiler) linkSeesTarget(x *link) bool {
	if x.prev == nil {
		switch {
		case x.root.choose != nil || x.root.named != "":
			return true
		case slices.ContainsFunc(x.root.args, isTarget) || strings.Contains(x.root.ref+x.root.pinText, "TARGET"):
			return true
		case x.root.base != nil:
			return c.seesTarget(x.root.base)
		case len(x.root.among) > 0:
			return slices.ContainsFunc(c.references(x, c.opts.Platforms...), func(s Stage) bool { return s.last != nil && c.seesTarget(s.last) })
		}
		return false
	}
	if op, ok := x.op.(*ArgOp); ok {
		return slices.ContainsFunc(op.Args, isTarget)
	}
	if x.root.rules != nil && readsImage(x.op) {
		return true
	}
	for _, s := range c.references(x, c.opts.Platforms...) {
		if s.last != nil && (!c.pinned(s.last.root) || c.seesTarget(s.last)) {
			return true
		}
	}
	return false
}

// readsImage reports whether an operation reads an image's files, which under the rules
// of a Dockerfile are those for the target.
func readsImage(op Op) bool {
	switch op := op.(type) {
	case *CopyOp:
		_, ok := op.From.(ImageSource)
		return ok
	case *RunOp:
		return slices.ContainsFunc(op.Mounts, func(m Mount) bool { _, ok := m.From.(ImageSource); return ok })
	}
	return false
}

// pinned reports whether a stage has the same platform whatever is asked for.
func (c *compiler) pinned(r *root) bool {
	for ; !r.pins() || len(r.among) > 0; r = r.base.root {
		if r.base == nil {
			return false
		}
	}
	return !strings.Contains(r.pinText, "TARGET") && !slices.ContainsFunc(r.args, isTarget)
}

// isTarget reports whether an argument's value can depend on the target platform.
func isTarget(a arg.Arg) bool {
	def, _ := a.Default()
	return strings.HasPrefix(a.Name(), "TARGET") || strings.Contains(def, "TARGET")
}
