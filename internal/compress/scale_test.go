package compress

import (
	"bytes"
	"fmt"
	"testing"
)

// 0.5, 5 and 50 MiB of text: internal/bench -scaling fits the exponent to what it finds. What is allocated must not grow with them.
func BenchmarkScaleWriter(b *testing.B) {
	piece := sample(1 << 19)
	for _, times := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%dx", times), func(b *testing.B) {
			in := bytes.Repeat(piece, times)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				var n countWriter
				w := NewWriter(&n, Options{})
				if _, err := w.Write(in); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
