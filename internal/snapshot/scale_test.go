//go:build linux

package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/tree"
)

// scale runs a benchmark at 100, 1,000 and 10,000 files of 2 KiB: internal/bench -scaling fits the exponent to what it finds.
func scale(b *testing.B, run func(b *testing.B, files int)) {
	for _, times := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%dx", times), func(b *testing.B) {
			b.SetBytes(int64(100*times) * 2048)
			b.ReportAllocs()
			run(b, 100*times)
		})
	}
}

// A layer becomes a directory: what a first Run on it pays.
func BenchmarkScaleLayer(b *testing.B) {
	scale(b, func(b *testing.B, files int) {
		var c contents
		d := c.put(strings.Repeat("x", 2048))
		e := tree.Edit(nil)
		for i := range files {
			path := fmt.Sprintf("usr/%d/%d", i/100, i)
			if err := first(e.MkdirAll(filepath.Dir(path), tree.Meta{Mode: 0o755}), e.Put(path, tree.NewFile(tree.Meta{Mode: 0o644}, d, 2048, 0))); err != nil {
				b.Fatal(err)
			}
		}
		full := e.Tree()
		changes := tree.Diff(nil, full)
		s := openStore(b, tempDir(b))
		i := 0
		for b.Loop() {
			i++
			if _, err := s.Layer(b.Context(), digestOf(fmt.Sprint(i)), full, changes, c.open); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// What a Run has written becomes changes: each file is read and hashed.
func BenchmarkScaleScan(b *testing.B) {
	scale(b, func(b *testing.B, files int) {
		u := mustUpper(b, openStore(b, tempDir(b)), nil)
		data := make([]byte, 2048)
		for i := range files {
			path := fmt.Sprintf("%s/%d/%d", u.Dir, i/100, i)
			if err := first(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
				b.Fatal(err)
			}
		}
		for b.Loop() {
			changes, err := u.Scan(b.Context(), nil, ScanOptions{})
			if err != nil {
				b.Fatal(err)
			}
			if len(changes) < files {
				b.Fatal(len(changes))
			}
		}
	})
}
