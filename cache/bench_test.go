package cache_test

import (
	"fmt"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

func BenchmarkOpenDisk(b *testing.B) {
	dir := b.TempDir()
	openDisk(b, dir)
	for b.Loop() {
		if _, err := cache.OpenDisk(dir, cache.DiskOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDiskGet(b *testing.B) {
	for _, size := range []int{200, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := openDisk(b, b.TempDir())
			if err := s.Put(b.Context(), testKey(1), make([]byte, size)); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Get(b.Context(), testKey(1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDiskMiss(b *testing.B) {
	s := openDisk(b, b.TempDir())
	for b.Loop() {
		if _, err := s.Get(b.Context(), testKey(1)); err == nil {
			b.Fatal("found")
		}
	}
}

func BenchmarkDiskReadBlob(b *testing.B) {
	s := openDisk(b, b.TempDir())
	d, err := cache.PutBlob(b.Context(), s, make([]byte, 1000))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := cache.ReadBlob(b.Context(), s, d, 1000); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDiskLease(b *testing.B) {
	s := openDisk(b, b.TempDir())
	for b.Loop() {
		l, err := s.Lease(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		l.Close()
	}
}

// BenchmarkDiskStep is what one step writes: three blobs and two records.
func BenchmarkDiskStep(b *testing.B) {
	for _, noSync := range []bool{false, true} {
		b.Run(fmt.Sprintf("NoSync=%v", noSync), func(b *testing.B) {
			s, err := cache.OpenDisk(b.TempDir(), cache.DiskOptions{NoSync: noSync})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			n := 0
			for b.Loop() {
				for range 3 {
					n++
					if _, err := cache.PutBlob(b.Context(), s, fmt.Appendf(nil, "%04000d", n)); err != nil {
						b.Fatal(err)
					}
				}
				for i := range 2 {
					if err := s.Put(b.Context(), testKey(n+i), make([]byte, 300)); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		golden().Sum()
	}
}
