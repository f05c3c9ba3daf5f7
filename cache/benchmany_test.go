package cache

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	benchRecords = flag.Int("cache.records", 20_000, "records in the store of BenchmarkMany")
	benchDir     = flag.String("cache.dir", "", "an empty directory for the store of BenchmarkMany, which stays")
)

// fill makes a store of n records of 300 bytes with a journal, as if one had been put each second, without the
// detour through temporary files.
func fill(b *testing.B, d *Disk, n int) {
	b.Helper()
	log, err := openLog(filepath.Join(d.dir, journalDir))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	start := time.Now().Add(-time.Duration(n+100) * time.Second)
	var text []byte
	for i := range n {
		k, at := numbered(i), start.Add(time.Duration(i)*time.Second)
		name := d.recordPath(k)
		err := os.WriteFile(name, encodeRecord(k, make([]byte, 300)), 0o600)
		if os.IsNotExist(err) {
			err = errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, encodeRecord(k, make([]byte, 300)), 0o600))
		}
		if err = errors.Join(err, os.Chtimes(name, at, at)); err != nil {
			b.Fatal(err)
		}
		text = line{at.UnixNano(), 4096, k.Hex()}.appendTo(append(text, "record "...))
		if len(text) > 1<<20 || i == n-1 {
			if _, err := log.Write(text); err != nil {
				b.Fatal(err)
			}
			text = text[:0]
		}
	}
}

// BenchmarkMany is what a store of many records costs: looking up, opening, and collecting, which must
// depend on what is removed and not on what is there. For a million:
//
//	go test -run - -bench Many -benchtime 3x ./cache -args -cache.records 1000000
func BenchmarkMany(b *testing.B) {
	dir := *benchDir
	if dir == "" {
		dir = b.TempDir()
	}
	d, err := OpenDisk(dir, DiskOptions{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	n := *benchRecords
	begun := time.Now()
	fill(b, d, n)
	b.Logf("%d records in %v", n, time.Since(begun).Round(time.Second))
	collect := func(b *testing.B, p Policy) *Collection {
		c, err := d.Collect(b.Context(), p)
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	b.Run("OpenDisk", func(b *testing.B) {
		for b.Loop() {
			if _, err := OpenDisk(dir, DiskOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Get", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.Get(b.Context(), numbered(n-1-rand.IntN(n/2))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Miss", func(b *testing.B) {
		for b.Loop() {
			_, _ = d.Get(b.Context(), numbered(-1-rand.IntN(n)))
		}
	})
	b.Run("CollectAfterCreation", func(b *testing.B) {
		collect(b, Policy{MaxBytes: 1 << 60})
	})
	for k := 1; k*10 <= n; k *= 10 {
		b.Run(fmt.Sprintf("Remove=%d", k), func(b *testing.B) {
			// At the most once for each tenth, so that there is always enough.
			kept := collect(b, Policy{MaxBytes: 1 << 60}).Kept
			for i := 0; b.Loop(); i++ {
				kept -= int64(k) * 4096
				if c := collect(b, Policy{MaxBytes: max(1, kept)}); len(c.Removed) != k {
					b.Fatalf("removed %d, want %d", len(c.Removed), k)
				}
			}
		})
	}
	b.Run("Usage", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.Usage(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
