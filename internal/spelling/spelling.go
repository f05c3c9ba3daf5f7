// Package spelling tells how far a name is from what somebody may have meant.
//
// It has one function, [Distance]. What counts as near, and in which order suggestions come,
// is for its callers, who know what they name.
package spelling

// Distance counts the characters to insert, delete, replace or swap with their neighbour to
// make b of a (optimal string alignment). Above limit it stops, and returns limit+1. It takes
// time in the order of the product of the lengths: callers bound these. It is a pure function.
func Distance(a, b string, limit int) int {
	from, to := []rune(a), []rune(b)
	if len(from)-len(to) > limit || len(to)-len(from) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(to)+1), make([]int, len(to)+1), make([]int, len(to)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(from); i++ {
		row[0] = i
		for j := 1; j <= len(to); j++ {
			change := last[j-1]
			if from[i-1] != to[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && from[i-1] == to[j-2] && from[i-2] == to[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(to)], limit+1)
}
