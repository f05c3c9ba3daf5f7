package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
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

// ratio is the ratio of two medians, and the interval that 95 of 100 resamplings of the pairs (bootstrap) fall into.
type ratio struct{ Value, Low, High float64 }

// ratioOf compares two lists of times whose i-th belong together; of the longer one only the first count. Neither may be empty.
// Resampling is the same each time.
func ratioOf(ours, theirs []time.Duration) ratio {
	n := min(len(ours), len(theirs))
	of := func(pick func(int) int) float64 {
		a, b := make([]time.Duration, n), make([]time.Duration, n)
		for i := range n {
			a[i], b[i] = ours[pick(i)], theirs[pick(i)]
		}
		return float64(spreadOf(a).Median) / float64(spreadOf(b).Median)
	}
	const times = 2000
	random := newRandom(uint64(n))
	values := make([]float64, times)
	for k := range values {
		values[k] = of(resample(random, n))
	}
	slices.Sort(values)
	return ratio{of(func(i int) int { return i }), values[times*25/1000], values[times*975/1000-1]}
}

// resample draws n of n, with repetition.
func resample(random *rand.Rand, n int) func(int) int {
	drawn := make([]int, n)
	for i := range drawn {
		drawn[i] = random.IntN(n)
	}
	return func(i int) int { return drawn[i] }
}
