package dag

import "slices"

// waitPath returns the keys from start to goal along waits, both included, or
// nil when start does not wait for goal. The Scheduler's mutex is held.
//
// A call that has just been made waits for nothing, so the search costs
// nothing where a graph is entered for the first time, and otherwise as much
// as start is waiting for.
func waitPath[K comparable, V any](start, goal *call[K, V]) []K {
	type step struct {
		call *call[K, V]
		from *step
	}
	seen := map[*call[K, V]]bool{start: true}
	for todo := []*step{{call: start}}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at.call == goal {
			var keys []K
			for ; at != nil; at = at.from {
				keys = append(keys, at.call.key)
			}
			slices.Reverse(keys)
			return keys
		}
		for next := range at.call.waitsFor {
			if !next.finished && !seen[next] {
				seen[next] = true
				todo = append(todo, &step{call: next, from: at})
			}
		}
	}
	return nil
}
