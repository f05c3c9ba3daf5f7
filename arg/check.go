package arg

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stagewright/stagewright/internal/spelling"
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
	lower := strings.ToLower(name)
	length := utf8.RuneCountInString(lower)
	if length > longest {
		return nil
	}
	for _, c := range candidates {
		other := strings.ToLower(c)
		long := utf8.RuneCountInString(other)
		if long == 0 || long > longest {
			continue
		}
		allowed := max(1, max(length, long)/3)
		begins := length >= 3 && strings.HasPrefix(other, lower)
		if d := spelling.Distance(lower, other, longest); (d <= allowed && d < long) || begins {
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
