package source

import (
	"fmt"
	"testing"
)

// scale runs a benchmark on a context of 200, 2,000 and 20,000 files: internal/bench -scaling fits the exponent to what it finds.
func scale(b *testing.B, run func(b *testing.B, dir string)) {
	for _, times := range []int{1, 10, 100} {
		dir := synthetic(b, 200*times)
		b.Run(fmt.Sprintf("%dx", times), func(b *testing.B) {
			b.ReportAllocs()
			run(b, dir)
		})
	}
}

func BenchmarkScaleList(b *testing.B) {
	scale(b, func(b *testing.B, dir string) { benchList(b, dir) })
}

// Listed and hashed with a memo of an earlier process: no file is opened, which benchMemo checks.
func BenchmarkScaleUnchanged(b *testing.B) {
	scale(b, func(b *testing.B, dir string) { benchMemo(b, dir) })
}

// Hashed for the first time: each file is opened once.
func BenchmarkScaleHash(b *testing.B) {
	scale(b, func(b *testing.B, dir string) {
		var opened int64
		for b.Loop() {
			d := mustDir(b, dir, DirOptions{})
			entries := mustList(b, d)
			if err := d.Hash(b.Context(), pointers(entries)); err != nil {
				b.Fatal(err)
			}
			opened = d.Stats().Opened
		}
		b.ReportMetric(float64(opened), "opened/op")
	})
}
