package main

import "math"

// exponent is the slope of the line through the logarithms of sizes and figures (least squares): 1 where a figure grows as the size does,
// 0 where it stays, 2 where it grows as the square. A figure below 1 counts as 1. There must be two different sizes.
func exponent(sizes, figures []float64) float64 {
	var mx, my float64
	n := float64(len(sizes))
	for i := range sizes {
		mx += math.Log(sizes[i]) / n
		my += math.Log(max(figures[i], 1)) / n
	}
	var above, below float64
	for i := range sizes {
		dx := math.Log(sizes[i]) - mx
		above += dx * (math.Log(max(figures[i], 1)) - my)
		below += dx * dx
	}
	return above / below
}
