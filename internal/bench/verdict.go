package main

import (
	"fmt"
	"strings"
)

const (
	// maxPeak is what stagewright may use at most, on any row.
	maxPeak = 150 << 20
	// sizeFactor is how much larger than BuildKit's layers ours may be; a difference below sizeSlack bytes, which framing makes, does not count.
	sizeFactor = 1.05
	sizeSlack  = 10_000
)

// verdict holds the row to its budget.
func (r *row) verdict() (text string, missed int) {
	var parts []string
	say := func(kept bool, format string, args ...any) {
		word := "met"
		if !kept {
			word = "**missed**"
			missed++
		}
		parts = append(parts, fmt.Sprintf(format, args...)+": "+word)
	}
	ours := r.walls(nameOurs)
	if len(ours) == 0 {
		return "", 0 // a failure is told and counted apart
	}
	if b := r.Budget.Ratio; b > 0 && len(r.Samples[nameBuildKit]) > 0 {
		say(ratioOf(ours, r.walls(nameBuildKit)).Value <= b, "%g", b)
	}
	if b := r.Budget.Limit; b > 0 && len(r.Samples[nameLimit]) > 0 {
		say(ratioOf(ours, r.walls(nameLimit)).Value <= b, "%g of the limit", b)
	}
	if b := r.Budget.Wall; b > 0 {
		say(spreadOf(ours).Median <= b, "%s", seconds(b))
	}
	if r.peak(nameOurs) > maxPeak {
		say(false, "150 MiB")
	}
	for _, side := range []string{nameBuildKit, nameLimit} {
		theirs, ours := r.Layers[side], r.Layers[nameOurs]
		if theirs > 0 && float64(ours) > sizeFactor*float64(theirs)+sizeSlack {
			say(false, "bytes within 5 %% of %s", map[string]string{nameBuildKit: "BuildKit's", nameLimit: "the limit's"}[side])
		}
	}
	return strings.Join(parts, ", "), missed
}
