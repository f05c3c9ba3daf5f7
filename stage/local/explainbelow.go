package local

import (
	"context"
	"fmt"
	"slices"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
)

// standings are the differences of what a step stands on: from what an earlier one stood on,
// or with nil of steps that changed. The first of those steps comes with it.
func (x *explainer) standings(ctx context.Context, step *stage.Step, was *recipeInfo) (list []stage.Difference, after *stage.Step) {
	add := func(what string, id int, old cache.Key) {
		id = x.below(id)
		for independent(x.steps[id].Op) && !x.found[id].changed && x.found[x.below(x.steps[id].Parent)].changed {
			id = x.below(x.steps[id].Parent) // what such a copy puts is as it was, not what is below it
		}
		f := &x.found[id]
		d := stage.Difference{Kind: stage.Changed, What: what, New: shortened(x.steps[id].Text, maxText)}
		switch {
		case f.changed:
			root := f.root()
			d.New = shortened(root.Text, maxText)
			switch x.found[root.ID].Cause {
			case stage.CauseFirst:
				d.Kind = stage.Added
			case stage.CauseLost, stage.CauseExpired, stage.CauseBypassed, stage.CauseFiles:
				d.Kind = stage.Lost
			}
			if after == nil {
				after = root
			}
		case was == nil:
			return
		default:
			if d.Old = x.textOf(ctx, old); d.Old == d.New && after == nil {
				after = x.steps[id]
			}
		}
		list = append(list, d)
	}
	info, err := x.info(step)
	if err != nil {
		return nil, nil
	}
	if step.Parent >= 0 && !independent(step.Op) && (was == nil || was.Parent != info.Parent) {
		var old cache.Key
		if was != nil {
			old = was.Parent
		}
		add("parent", step.Parent, old)
	}
	for i, key := range info.Inputs {
		id := slices.IndexFunc(step.Inputs, func(id int) bool { return x.keys[id] == key })
		switch {
		case id < 0:
		case was == nil:
			add("source", step.Inputs[id], cache.Key{})
		case i >= len(was.Inputs):
			add("source", step.Inputs[id], cache.Key{})
		case was.Inputs[i] != key:
			add("source", step.Inputs[id], was.Inputs[i])
		}
	}
	return list, after
}

// textOf is the text of an earlier step.
func (x *explainer) textOf(ctx context.Context, key cache.Key) string {
	e, err := x.read(ctx, historyEntry{key: key})
	if err != nil || e == nil || e.info == nil {
		return "another step"
	}
	return e.info.Text
}

// standOn adds to the explanation of a step what differs of what it stands on. See standings.
func (x *explainer) standOn(ctx context.Context, step *stage.Step, f *finding, was *recipeInfo) {
	list, after := x.standings(ctx, step, was)
	f.After = after
	f.Differences = append(f.Differences, list...)
	if n := len(f.Differences); n > stage.MaxDifferences {
		f.More += n - stage.MaxDifferences
		f.Differences = f.Differences[:stage.MaxDifferences]
	}
}

// layers says of a target whose steps are all there that its layers are not.
func (x *explainer) layers(ctx context.Context) error {
	for _, t := range x.graph.Targets() {
		f := &x.found[x.below(t.Step)]
		if !x.needed[t.Step] || f.changed || f.Status != stage.Hit || f.Cause != "" {
			continue
		}
		chain, _ := x.chain(t.Step)
		units := x.units(chain)
		known, key, err := x.knownLayers(ctx, t.Step, units)
		if err != nil {
			return err
		}
		if known != nil {
			continue
		}
		rec, ok, err := load[imageRecord](ctx, x.session, key)
		if err != nil {
			return err
		}
		if ok && !x.complete(ctx, rec) {
			f.Cause, f.Differences = stage.CauseLayers, []stage.Difference{{Kind: stage.Lost, What: "layer", Aspect: x.lostLayer(ctx, rec)}}
			continue
		}
		if was, err := x.otherCompression(ctx, t.Step, units); err != nil {
			return err
		} else if was != "" {
			now := spellCompression(x.opts.Compression)
			f.Cause, f.Differences = stage.CauseLayers, []stage.Difference{{Kind: stage.Changed, What: "compression", Old: was, New: now}}
		}
	}
	return nil
}

// lostLayer tells what became of a layer of an image that the cache has not got.
func (x *explainer) lostLayer(ctx context.Context, rec imageRecord) string {
	for _, l := range rec.Layers {
		if l != nil && !l.Imported && !x.has(ctx, l) {
			return "removed from the cache"
		}
	}
	return notFetched
}

func spellCompression(c image.Compression) string {
	if c.Format == image.Uncompressed {
		return c.Format.String()
	}
	if c.Level == 0 {
		c.Level = map[image.CompressionFormat]int{image.Gzip: 6, image.Zstd: 3}[c.Format]
	}
	return fmt.Sprintf("%s level %d", c.Format, c.Level)
}

// otherCompression finds in which other form the cache has the layers of a target; empty
// for none.
func (x *explainer) otherCompression(ctx context.Context, id int, units []unit) (string, error) {
	wanted := x.opts.Compression
	defer func() { x.opts.Compression = wanted }()
	forms := []image.Compression{{}, {Format: image.Zstd}, {Format: image.Uncompressed}}
	for level := range 9 {
		forms = append(forms, image.Compression{Level: level + 1})
	}
	for _, level := range []int{1, 6, 10} { // one of each that differ; see image.Compression
		forms = append(forms, image.Compression{Format: image.Zstd, Level: level})
	}
	for _, form := range forms {
		x.opts.Compression = form
		known, _, err := x.knownLayers(ctx, id, units)
		if err != nil {
			return "", err
		}
		if known != nil {
			return spellCompression(form), nil
		}
	}
	return "", nil
}
