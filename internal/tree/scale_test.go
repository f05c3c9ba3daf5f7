package tree

import (
	"fmt"
	"testing"
)

// scale runs a benchmark at 500, 5,000 and 50,000 files: internal/bench -scaling fits the exponent to what it finds.
func scale(b *testing.B, run func(b *testing.B, paths []string)) {
	for _, times := range []int{1, 10, 100} {
		paths := names(500*times, 20)
		b.Run(fmt.Sprintf("%dx", times), func(b *testing.B) {
			b.ReportAllocs()
			run(b, paths)
		})
	}
}

// A directory of another tree, node by node, as COPY --from does where it must look at each.
func BenchmarkScaleCopy(b *testing.B) {
	scale(b, func(b *testing.B, paths []string) {
		from := build(b, nil, paths)
		for b.Loop() {
			e := Edit(nil)
			g := e.Graft()
			for path, n := range Walk(from) {
				if n.Kind() == Dir {
					n = NewDir(n.Meta())
				}
				if path == "" {
					continue
				}
				if err := g.Put(path, n); err != nil {
					b.Fatal(err)
				}
			}
			e.Tree()
		}
	})
}

func BenchmarkScaleDiff(b *testing.B) {
	scale(b, func(b *testing.B, paths []string) {
		old, new := build(b, nil, paths), build(b, nil, paths)
		for b.Loop() {
			if n := len(Diff(old, new)); n != 0 {
				b.Fatal(n)
			}
		}
	})
}

func BenchmarkScaleApply(b *testing.B) {
	scale(b, func(b *testing.B, paths []string) {
		changes := Diff(nil, build(b, nil, paths))
		for b.Loop() {
			if _, err := Apply(nil, changes); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The key of a tree of which nothing was hashed before.
func BenchmarkScaleKey(b *testing.B) {
	scale(b, func(b *testing.B, paths []string) {
		for b.Loop() {
			b.StopTimer()
			root := build(b, nil, paths)
			b.StartTimer()
			root.Key()
		}
	})
}

// The identity of a tree after an edit of one file: it grows with the path, not with the tree.
func BenchmarkScaleKeyAfterEdit(b *testing.B) {
	scale(b, func(b *testing.B, paths []string) {
		root := build(b, nil, paths)
		root.Key()
		for b.Loop() {
			e := Edit(root)
			if err := e.SetMeta(paths[len(paths)/2], Meta{Mode: 0o755}); err != nil {
				b.Fatal(err)
			}
			e.Tree().Key()
		}
	})
}

func BenchmarkScaleMarshal(b *testing.B) {
	scale(b, func(b *testing.B, paths []string) {
		changes := Diff(nil, build(b, nil, paths))
		b.SetBytes(int64(len(Marshal(changes))))
		for b.Loop() {
			if _, err := Unmarshal(Marshal(changes)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
