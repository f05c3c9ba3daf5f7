package local

import (
	"context"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/stage"
)

// itemDifferences lists the items of two recipes that are not the same, in the order of the newer
// one; what only the older one has comes last.
func itemDifferences(old, now []recipeItem) []stage.Difference {
	if slices.Equal(old, now) {
		return nil
	}
	type named struct {
		name [3]string
		nth  int
	}
	values := make(map[named]string, len(old))
	count := func() func(recipeItem) named {
		seen := map[[3]string]int{}
		return func(i recipeItem) named {
			seen[i.name()]++
			return named{i.name(), seen[i.name()]}
		}
	}
	nth := count()
	for _, item := range old {
		values[nth(item)] = item.value()
	}
	var list []stage.Difference
	difference := func(kind stage.DifferenceKind, item recipeItem, was, is string) {
		list = append(list, stage.Difference{Kind: kind, What: item[0], Name: item[1], Aspect: item[2], Old: was, New: is})
	}
	nth = count()
	for _, item := range now {
		n := nth(item)
		was, ok := values[n]
		delete(values, n)
		switch {
		case !ok:
			difference(stage.Added, item, "", item.value())
		case was != item.value():
			difference(stage.Changed, item, was, item.value())
		}
	}
	nth = count()
	for _, item := range old {
		if _, left := values[nth(item)]; left {
			difference(stage.Removed, item, item.value(), "")
		}
	}
	if len(list) == 0 { // the same items in another order
		at := 0
		for now[at] == old[at] {
			at++
		}
		list = append(list, stage.Difference{Kind: stage.Changed, What: now[at][0], Name: now[at][1], Aspect: "order"})
	}
	return list
}

// differences tells what a step says or reads itself that the earlier one did not, most telling
// first, and how many differences there are beyond stage.MaxDifferences.
func (x *explainer) differences(ctx context.Context, step *stage.Step, info *recipeInfo, near *earlier) (list []stage.Difference, more int, err error) {
	var files []stage.Difference
	whole := map[string]bool{} // mounts that are there as a whole, or not
	for _, d := range itemDifferences(near.info.Fields, info.Fields) {
		switch {
		case d.What == "file":
			files = append(files, d)
			continue
		case d.What == "mount" && whole[d.Name]:
			continue
		case d.What == "mount" && d.Aspect == "" && d.Kind != stage.Changed:
			whole[d.Name] = true
		}
		list = append(list, shown(d))
	}
	slices.SortStableFunc(list, func(a, b stage.Difference) int { return rank(a) - rank(b) })
	if len(files) > 0 {
		same := len(list) == 0
		exact, further, err := x.fileDifferences(ctx, step, near, files, same)
		if err != nil {
			return nil, 0, err
		}
		list, more = append(list, exact...), further
	}
	if n := len(list); n > stage.MaxDifferences {
		list, more = list[:stage.MaxDifferences], more+n-stage.MaxDifferences
	}
	return list, more, nil
}

// rank puts first what says the most: of what changes every step.
func rank(d stage.Difference) int {
	switch d.What {
	case "recipe":
		return 0
	case "epoch":
		return 1
	case "platform":
		return 2
	}
	return 3
}

// maxShown is how much of a value is shown.
const maxShown = 80

// shown is a difference whose values are short enough to be read: of longer ones, from a little
// before where they begin to differ.
func shown(d stage.Difference) stage.Difference {
	if d.What == "recipe" {
		d.What = "format of keys"
	}
	if len(d.Old) <= maxShown && len(d.New) <= maxShown {
		return d
	}
	from := 0
	if d.Kind == stage.Changed {
		for from < min(len(d.Old), len(d.New)) && d.Old[from] == d.New[from] {
			from++
		}
		from = max(0, from-maxShown/4)
	}
	d.Old, d.New = window(d.Old, from), window(d.New, from)
	return d
}

func window(s string, from int) string {
	if s == "" || from >= len(s) {
		return s
	}
	part := strings.ToValidUTF8(shortened(s[from:], maxShown), "")
	if from > 0 {
		part = "…" + part
	}
	return part
}
