package arg

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Check says whether the argument takes value: nil or a *[ValueError]. It does not look at mistakes of the declaration.
func (a Arg) Check(value string) error {
	if a.required && value == "" {
		return a.wrong(value, nil, "")
	}
	if strings.ContainsRune(value, 0) {
		return &ValueError{Name: a.name, Value: value, Want: "no NUL byte: the environment of a process cannot hold one"}
	}
	if a.oneOf != nil && !slices.Contains(a.oneOf, value) {
		return a.wrong(value, nil, nearest(value, a.oneOf))
	}
	if err := a.checkKind(value); err != nil {
		return err
	}
	for _, check := range a.validators {
		if err := check(value); err != nil {
			return &ValueError{Name: a.name, Value: value, Err: err}
		}
	}
	return nil
}

func (a Arg) wrong(value string, err error, near string) error {
	return &ValueError{Name: a.name, Value: value, Want: a.want(), Near: near, Err: err}
}

// checkKind checks the type alone.
func (a Arg) checkKind(value string) error {
	switch a.kind {
	case boolean:
		if value == "true" || value == "false" {
			return nil
		}
		return a.wrong(value, nil, nearBool(value))
	case integer:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return a.wrong(value, nil, "")
		}
		if canonical := strconv.FormatInt(n, 10); canonical != value {
			return a.wrong(value, nil, canonical)
		}
		if n < a.low || n > a.high {
			return a.wrong(value, nil, "")
		}
	}
	return nil
}

// want describes what is allowed.
func (a Arg) want() string {
	switch {
	case a.oneOf != nil:
		quoted := make([]string, len(a.oneOf))
		for i, v := range a.oneOf {
			quoted[i] = strconv.Quote(v)
		}
		return "one of " + strings.Join(quoted, ", ")
	case a.kind == boolean:
		return `"true" or "false"`
	case a.kind == integer && a.low == math.MinInt64 && a.high == math.MaxInt64:
		return "integer"
	case a.kind == integer:
		return fmt.Sprintf("integer from %d to %d", a.low, a.high)
	case a.required:
		return "string that is not empty"
	default:
		return "string"
	}
}

func nearBool(value string) string {
	switch strings.ToLower(value) {
	case "1", "t", "true", "y", "yes", "on":
		return "true"
	case "0", "f", "false", "n", "no", "off":
		return "false"
	}
	return nearest(value, []string{"true", "false"})
}

// Near gives the candidates that someone who wrote name probably meant, the likeliest first and at most three: those
// that begin with it, and those that differ from it in letter case or by few inserted, deleted, replaced or swapped
// characters. It is meant for the end of error messages about unknown names.
func Near(name string, candidates []string) []string {
	const longest = 100 // characters; longer names are not typed by hand
	type scored struct {
		name     string
		distance int
	}
	var found []scored
	lower := []rune(strings.ToLower(name))
	if len(lower) > longest {
		return nil
	}
	for _, c := range candidates {
		other := []rune(strings.ToLower(c))
		allowed := max(1, max(len(lower), len(other))/3)
		if len(other) == 0 || len(other) > longest {
			continue
		}
		begins := len(lower) >= 3 && strings.HasPrefix(string(other), string(lower))
		if d := distance(lower, other); (d <= allowed && d < len(other)) || begins {
			found = append(found, scored{c, d})
		}
	}
	slices.SortStableFunc(found, func(a, b scored) int { return a.distance - b.distance })
	var names []string
	for _, f := range found {
		if len(names) < 3 && !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	return names
}

func nearest(name string, candidates []string) string {
	if near := Near(name, candidates); len(near) > 0 {
		return near[0]
	}
	return ""
}

// distance counts the edits between a and b, a swap of two neighbours being one (optimal string alignment).
func distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
