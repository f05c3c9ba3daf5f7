package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestExponent(t *testing.T) {
	sizes := []float64{1, 10, 100}
	for _, c := range []struct {
		figures []float64
		want    float64
	}{
		{[]float64{5, 50, 500}, 1},
		{[]float64{3, 300, 30_000}, 2},
		{[]float64{7, 7, 7}, 0},
		{[]float64{0, 0, 0}, 0},
		{[]float64{100, 110, 200}, 0.15},
	} {
		if got := exponent(sizes, c.figures); math.Abs(got-c.want) > 0.01 {
			t.Errorf("%v: %.3f, want %.3f", c.figures, got, c.want)
		}
	}
}

func durations(ms ...int) (list []time.Duration) {
	for _, n := range ms {
		list = append(list, time.Duration(n)*time.Millisecond)
	}
	return list
}

func TestRatioOf(t *testing.T) {
	same := ratioOf(durations(50, 50, 50), durations(100, 100, 100, 900))
	if same != (ratio{0.5, 0.5, 0.5}) {
		t.Errorf("equal figures: %+v", same)
	}
	r := ratioOf(durations(40, 50, 60, 45, 55, 50, 90), durations(100, 110, 95, 100, 105, 90, 100))
	if r.Value != 0.5 || r.Low < 0.4 || r.Low > 0.5 || r.High < 0.5 || r.High > 0.95 {
		t.Errorf("%+v", r)
	}
	if again := ratioOf(durations(40, 50, 60, 45, 55, 50, 90), durations(100, 110, 95, 100, 105, 90, 100)); again != r {
		t.Errorf("%+v and %+v", r, again)
	}
}

func TestReadSeries(t *testing.T) {
	got := readSeries(strings.NewReader(`goos: linux
BenchmarkScaleList/1x-2     	     160	    381590 ns/op	       211.0 files	  237458 B/op	     784 allocs/op
BenchmarkScaleList/10x-2    	      12	   4665789 ns/op	      2105 files	 1236986 B/op	    7531 allocs/op
BenchmarkOther-2            	      12	   4665789 ns/op
BenchmarkScaleKey/1x        	   52952	      1057 ns/op	 160.90 MB/s	     568 B/op	      18 allocs/op
PASS
`))
	if len(got) != 2 || got[0].name != "BenchmarkScaleList" || !slices.Equal(got[0].sizes, []float64{1, 10}) ||
		!slices.Equal(got[0].time, []float64{381590, 4665789}) || !slices.Equal(got[0].bytes, []float64{237458, 1236986}) ||
		!slices.Equal(got[0].allocate, []float64{784, 7531}) || got[1].name != "BenchmarkScaleKey" || !slices.Equal(got[1].allocate, []float64{18}) {
		t.Errorf("%+v", got)
	}
}

// Allocations that grow as the square are told and counted; times never are.
func TestSeriesVerdict(t *testing.T) {
	sizes := []float64{1, 10, 100}
	for _, c := range []struct {
		name   string
		s      series
		missed int
	}{
		{"linear", series{"BenchmarkScaleA", sizes, []float64{1, 1000, 1e6}, []float64{1, 10, 100}, []float64{10, 100, 1000}}, 0},
		{"square", series{"BenchmarkScaleA", sizes, []float64{1, 10, 100}, []float64{1, 10, 100}, []float64{10, 1000, 100_000}}, 1},
		{"one size", series{"BenchmarkScaleA", sizes[:1], []float64{1}, []float64{1}, []float64{10}}, 1},
	} {
		var b strings.Builder
		if got := c.s.print(&b, "./x"); got != c.missed || strings.Contains(b.String(), "missed") != (c.missed > 0) {
			t.Errorf("%s: %d missed: %s", c.name, got, b.String())
		}
	}
}
