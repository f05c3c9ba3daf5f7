package stage

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/platform"
)

// named is what carries one name: the beginning of the stage, and the ends of
// it that are used as values.
type named struct {
	root  *root
	heads []*link
}

// collectNames goes through everything that the targets can reach on a platform and finds
// the stages that have names, so that Named can refer to any of them and no two stages
// share one. What ForPlatform chooses for different platforms may have one name.
func (c *compiler) collectNames(targets []Stage) {
	c.names = map[platform.Platform]map[string]named{}
	for _, p := range c.opts.Platforms {
		if c.names[p] == nil {
			c.names[p] = map[string]named{}
			c.collectNamesOn(p, targets)
		}
	}
}

func (c *compiler) collectNamesOn(p platform.Platform, targets []Stage) {
	seen := map[*link]bool{}
	var todo []*link
	visit := func(s Stage) {
		if s.last != nil {
			c.addName(p, s.last)
			todo = append(todo, s.last)
		}
	}
	for _, s := range targets {
		visit(s)
	}
	for _, s := range c.opts.Stages {
		visit(s)
	}
	for len(todo) > 0 {
		l := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for ; l != nil && !seen[l]; l = l.prev {
			seen[l] = true
			for _, s := range c.references(l, p) {
				visit(s)
			}
		}
	}
}

// references are the stages that one link mentions by value, on any of the platforms.
func (c *compiler) references(l *link, platforms ...platform.Platform) []Stage {
	var list []Stage
	add := func(s Source) {
		if st, ok := s.(Stage); ok {
			list = append(list, st)
		}
	}
	switch op := l.op.(type) {
	case nil:
		if l.root.base != nil {
			list = append(list, Stage{last: l.root.base})
		}
		for _, p := range platforms {
			if base := c.among(l.root, p); base != nil {
				list = append(list, Stage{last: base})
			}
		}
		if l.root.choose != nil && l.root.err == nil {
			for _, p := range platforms {
				list = append(list, c.preview(l.root, p))
			}
		}
	case *CopyOp:
		add(op.From)
	case *RunOp:
		for _, m := range op.Mounts {
			add(m.From)
		}
	case *RunDefaultsOp:
		for _, m := range new(RunOp).withDefaults(op.Options).Mounts {
			add(m.From)
		}
	case *NeedsOp:
		list = append(list, op.Stages...)
	case *MergeOp:
		list = append(list, op.Stages...)
	case *ApplyOp:
		list = append(list, op.Lower, op.Upper)
	}
	return list
}

// preview asks a ForPlatform stage for its choice and remembers it. A function
// that makes new ForPlatform stages without end is cut off here, and reported
// when the stage is compiled.
func (c *compiler) preview(r *root, p platform.Platform) Stage {
	key := pinKey{r, p}
	if s, ok := c.chosen[key]; ok {
		return s
	}
	if len(c.chosen) > maxForPlatform*len(c.opts.Platforms) {
		return Stage{}
	}
	s := r.choose(p)
	c.chosen[key] = s
	return s
}

func (c *compiler) addName(p platform.Platform, l *link) {
	r := l.root
	if r.name == "" {
		return
	}
	key := strings.ToLower(r.name)
	n, ok := c.names[p][key]
	switch {
	case !ok:
		n = named{root: r}
	case n.root != r:
		c.fail(r.at, r.name, "", fmt.Errorf("the name %s is taken by the stage that begins at %s", r.name, n.root.at.position()), "give one of them another name")
		return
	}
	if !slices.Contains(n.heads, l) {
		n.heads = append(n.heads, l)
	}
	c.names[p][key] = n
}

// find returns the stage that a Named stage means on a platform.
func (c *compiler) find(r *root, p platform.Platform) *link {
	n, ok := c.names[p][strings.ToLower(r.named)]
	if !ok {
		known := slices.Sorted(maps.Keys(c.names[p]))
		fix := "no stage of this graph has a name; give one with stage.As"
		if near := nearest(r.named, known); near != "" {
			fix = "did you mean " + near + "?"
		} else if len(known) > 0 {
			fix = "known are " + strings.Join(known, ", ") + "; list a stage that nothing else reaches in Options.Stages"
		}
		c.fail(r.at, r.named, "", fmt.Errorf("%w %q", ErrUnknownStage, r.named), fix)
		return nil
	}
	if len(n.heads) > 1 {
		c.fail(r.at, r.named, "", fmt.Errorf("the name %s means %d different ends of the same stage", r.named, len(n.heads)), "use the Stage value instead of its name")
		return nil
	}
	return n.heads[0]
}
