package cache_test

import (
	"fmt"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// A key of 10, 100 and 1,000 fields: internal/bench -scaling fits the exponent to what it finds.
func BenchmarkScaleKey(b *testing.B) {
	for _, times := range []int{1, 10, 100} {
		fields := make([]string, 10*times)
		for i := range fields {
			fields[i] = fmt.Sprintf("usr/lib/file%05d", i)
		}
		b.Run(fmt.Sprintf("%dx", times), func(b *testing.B) {
			b.SetBytes(int64(len(fields) * len(fields[0])))
			b.ReportAllocs()
			for b.Loop() {
				k := cache.NewKey("benchmark", 1)
				for _, f := range fields {
					k.String("field", f)
				}
				k.Sum()
			}
		})
	}
}

// A record of a store on disk that has 100, 1,000 and 10,000 of them: it must not cost more than the first.
func BenchmarkScaleGet(b *testing.B) {
	for _, times := range []int{1, 10, 100} {
		s, err := cache.OpenDisk(b.TempDir(), cache.DiskOptions{NoSync: true})
		if err != nil {
			b.Fatal(err)
		}
		for i := range 100 * times {
			if err := s.Put(b.Context(), testKey(i), make([]byte, 300)); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("%dx", times), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				if _, err := s.Get(b.Context(), testKey(i*7919%(100*times))); err != nil {
					b.Fatal(err)
				}
			}
		})
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
