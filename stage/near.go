package stage

import "strings"

// nearest returns the name closest to want, or "" when none is close enough to
// be what was meant.
func nearest(want string, names []string) string {
	best, distance := "", 1+len(want)/3
	for _, name := range names {
		if name == "" || name == want {
			continue
		}
		if d := editDistance(strings.ToLower(want), strings.ToLower(name)); d <= distance && (best == "" || d < distance) {
			best, distance = name, d
		}
	}
	return best
}

// editDistance is the number of characters to insert, delete or replace
// (Levenshtein). Long texts are never alike, and not worth comparing.
func editDistance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
