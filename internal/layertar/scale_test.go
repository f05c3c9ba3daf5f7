package layertar

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// scale runs a benchmark at 1, 10 and 100 times a size: internal/bench -scaling fits the exponent to what it finds.
func scale(b *testing.B, run func(b *testing.B, times int)) {
	for _, times := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%dx", times), func(b *testing.B) {
			b.ReportAllocs()
			run(b, times)
		})
	}
}

func scaleWrite(b *testing.B, files, size int) {
	changes, c := benchLayer(files, size)
	b.SetBytes(int64(files) * int64(size))
	for b.Loop() {
		if err := Write(io.Discard, changes, c.open); err != nil {
			b.Fatal(err)
		}
	}
}

// A layer of 200, 2,000 and 20,000 files of 1 KiB.
func BenchmarkScaleWriteFiles(b *testing.B) {
	scale(b, func(b *testing.B, times int) { scaleWrite(b, 200*times, 1<<10) })
}

// A layer of one file of 1, 10 and 100 MiB: what is allocated must not grow with it.
func BenchmarkScaleWriteBytes(b *testing.B) {
	scale(b, func(b *testing.B, times int) { scaleWrite(b, 1, times<<20) })
}

// The index of a foreign layer of 200, 2,000 and 20,000 files of 1 KiB.
func BenchmarkScaleRead(b *testing.B) {
	scale(b, func(b *testing.B, times int) {
		changes, c := benchLayer(200*times, 1<<10)
		in := write(b, changes, c)
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			if _, err := Read(bytes.NewReader(in), Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The index, applied to an empty tree.
func BenchmarkScaleApply(b *testing.B) {
	scale(b, func(b *testing.B, times int) {
		changes, c := benchLayer(200*times, 1<<10)
		index, err := Read(bytes.NewReader(write(b, changes, c)), Limits{})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := index.Apply(nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
