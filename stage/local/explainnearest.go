package local

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// earlier is a step of an earlier build.
type earlier struct {
	historyEntry
	record
	info *recipeInfo // nil when its record does not say
	age  int         // its place in the histories
	own  string      // see ownOf
}

// earlierStage is what is known of the earlier builds of a stage, by what makes a step
// worth a comparison: it did the same thing, it stood on the same, or it was at the same place.
type earlierStage struct {
	keys     map[cache.Key]bool // also of steps whose records are gone
	doing    map[string][]*earlier
	standing map[cache.Key][]*earlier
	at       map[int][]*earlier
}

// maxCandidates bounds with how many earlier steps one is compared for one reason, and
// maxOthers how many steps of other stages are looked at.
const (
	maxCandidates = 256
	maxOthers     = 4 << 10
)

// compare finds the nearest earlier step and what differs from it.
func (x *explainer) compare(ctx context.Context, step *stage.Step, f *finding) error {
	name := x.names[step.ID]
	history, err := x.stage(ctx, name)
	if err != nil {
		return err
	}
	info, err := x.info(step)
	if err != nil {
		return err
	}
	near, err := x.nearest(ctx, step, info, name, history)
	if err != nil {
		return err
	}
	_, isBase := step.Op.(*stage.BaseOp)
	switch {
	case history.keys[x.recipes[step.ID]] && !isBase:
		f.Cause = stage.CauseLost
		f.Differences = []stage.Difference{{Kind: stage.Lost, What: "record", Aspect: "removed from the cache"}}
		return nil
	case near == nil && isBase:
		return nil
	case near == nil:
		f.Cause, f.Local = stage.CauseFirst, len(x.from) > 0
		x.standOn(ctx, step, f, nil)
		f.Differences = nil
		return nil
	}
	f.Earlier = &stage.EarlierStep{Made: madeAt(near.record)}
	if f.Cause = stage.CauseChanged; near.info == nil {
		return nil
	}
	f.Earlier.Text = near.info.Text
	own, more, err := x.differences(ctx, step, info, near)
	if err != nil {
		return err
	}
	if len(own) == 0 {
		f.Cause = stage.CauseBelow
	}
	f.Differences, f.More = own, more
	x.standOn(ctx, step, f, near.info)
	return nil
}

// info describes the recipe of a step of the graph.
func (x *explainer) info(step *stage.Step) (*recipeInfo, error) {
	if info := x.infos[step.ID]; info != nil {
		return info, nil
	}
	info, err := x.recipeInfo(step)
	x.infos[step.ID] = info
	return info, err
}

// stage reads what is known of the earlier builds of a stage.
func (x *explainer) stage(ctx context.Context, name historyName) (*earlierStage, error) {
	if st := x.stages[name]; st != nil {
		return st, nil
	}
	entries, known := x.before[name]
	if !known {
		var err error
		if entries, err = x.history(ctx, name); err != nil {
			return nil, err
		}
	}
	st, err := x.index(ctx, entries)
	x.stages[name] = st
	return st, err
}

func (x *explainer) index(ctx context.Context, entries []historyEntry) (*earlierStage, error) {
	st := &earlierStage{keys: map[cache.Key]bool{}, doing: map[string][]*earlier{}, standing: map[cache.Key][]*earlier{}, at: map[int][]*earlier{}}
	for i, entry := range entries {
		st.keys[entry.key] = true
		e, err := x.read(ctx, entry)
		if err != nil {
			return nil, err
		}
		if e == nil {
			continue
		}
		e.age = i
		if e.info != nil {
			does := doing(e.info)
			st.doing[does] = append(st.doing[does], e)
			st.standing[e.info.Parent] = append(st.standing[e.info.Parent], e)
		}
		st.at[e.at] = append(st.at[e.at], e)
	}
	return st, nil
}

// read reads the record of an earlier step; nil when it is gone.
func (x *explainer) read(ctx context.Context, entry historyEntry) (*earlier, error) {
	if e, ok := x.records[entry.key]; ok {
		return e, nil
	}
	rec, ok, err := load[record](ctx, x.session, entry.key)
	if err != nil {
		return nil, err
	}
	var e *earlier
	if ok {
		e = &earlier{historyEntry: entry, record: rec}
		var info recipeInfo
		if rec.Recipe != nil && json.Unmarshal(rec.Recipe, &info) == nil {
			e.info, e.own = &info, ownOf(&info)
		}
	}
	x.records[entry.key] = e
	return e, nil
}

// doing is what tells one step of a stage from another in the eyes of who wrote it: its command, its
// destination and sources, its path.
func doing(info *recipeInfo) string {
	said := []string{info.Op}
	for _, item := range info.Fields {
		switch item.what() {
		case "command", "script", "destination", "path", "name":
			said = append(said, item.value())
		}
	}
	return fmt.Sprintf("%q", said)
}

// ownOf is all that a step says itself.
func ownOf(info *recipeInfo) string { return fmt.Sprintf("%q%q", info.Op, info.Fields) }

// claimed are the steps of a stage in this graph by what they say themselves: an earlier step that
// said the same is theirs to be compared with.
func (x *explainer) claimed(name historyName) (map[string]int, error) {
	if claims := x.claims[name]; claims != nil {
		return claims, nil
	}
	claims := map[string]int{}
	for i, step := range x.steps {
		if !x.needed[i] || !changesFiles(step.Op) || x.names[i] != name {
			continue
		}
		info, err := x.info(step)
		if err != nil {
			return nil, err
		}
		claims[ownOf(info)]++
	}
	x.claims[name] = claims
	return claims, nil
}

// nearest finds the earlier step with the fewest differing fields: among those of the stage, and
// where none is worth a comparison among those of other stages that did the same. Of equally near
// ones it is one that stood on the same, then one at the nearest place, then the latest.
func (x *explainer) nearest(ctx context.Context, step *stage.Step, info *recipeInfo, name historyName, st *earlierStage) (*earlier, error) {
	claims, err := x.claimed(name)
	if err != nil {
		return nil, err
	}
	own, does, at := ownOf(info), doing(info), x.places[step.ID]
	best := func(lists ...[]*earlier) *earlier {
		var nearest *earlier
		var least distance
		for _, list := range lists {
			for _, e := range list[:min(len(list), maxCandidates)] {
				others := e.info != nil && e.own != own && claims[e.own] > 0
				if e.kind != kindOf(step) || e.key == x.recipes[step.ID] || others {
					continue
				}
				if d := e.distance(info, at); nearest == nil || d.compare(least) < 0 {
					nearest, least = e, d
				}
			}
		}
		return nearest
	}
	if e := best(st.doing[does], st.standing[info.Parent], st.at[at]); e != nil {
		return e, nil
	}
	others, err := x.otherStages(ctx)
	if err != nil {
		return nil, err
	}
	return best(others.doing[does]), nil
}

// distance is how far an earlier step is from one of now.
type distance struct{ fields, below, place, age int }

func (e *earlier) distance(info *recipeInfo, at int) distance {
	d := distance{fields: 1 << 20, below: 1, place: max(e.at-at, at-e.at), age: e.age}
	if e.info != nil {
		d.fields = len(itemDifferences(e.info.Fields, info.Fields))
		if e.info.Parent == info.Parent {
			d.below = 0
		}
		d.fields += d.below
	}
	return d
}

func (d distance) compare(o distance) int {
	return cmp.Or(cmp.Compare(d.fields, o.fields), cmp.Compare(d.below, o.below), cmp.Compare(d.place, o.place), cmp.Compare(d.age, o.age))
}

// otherStages reads the histories of all stages that were built lately.
func (x *explainer) otherStages(ctx context.Context) (*earlierStage, error) {
	if x.others != nil {
		return x.others, nil
	}
	names, _, err := load[[]historyName](ctx, x.session, histories())
	if err != nil {
		return nil, err
	}
	var all []historyEntry
	for _, name := range names[:min(len(names), maxHistories)] {
		entries, known := x.before[name]
		if !known {
			if entries, err = x.history(ctx, name); err != nil {
				return nil, err
			}
		}
		all = append(all, entries...)
		if len(all) > maxOthers {
			break
		}
	}
	x.others, err = x.index(ctx, all[:min(len(all), maxOthers)])
	return x.others, err
}
