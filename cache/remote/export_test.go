package remote

import "time"

// SetClock gives a store another time.
func SetClock(s *Store, now func() time.Time) { s.now = now }

// SetCompactAfter is Options.CompactAfter of a store that is open.
func SetCompactAfter(s *Store, n int) { s.options.CompactAfter = n }
