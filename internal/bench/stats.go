package main

import (
	"cmp"
	"slices"
)

// spread is the least, the middle and the largest of some figures.
type spread[T cmp.Ordered] struct {
	Min    T `json:"min"`
	Median T `json:"median"`
	Max    T `json:"max"`
}

// spreadOf returns the spread of at least one figure. The median of an even number is the lower of the two in the middle.
func spreadOf[T cmp.Ordered](figures []T) spread[T] {
	sorted := slices.Sorted(slices.Values(figures))
	return spread[T]{sorted[0], sorted[(len(sorted)-1)/2], sorted[len(sorted)-1]}
}
