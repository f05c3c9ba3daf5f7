package stagewright_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/stage"
)

// A build of which nothing changed, from the call to the closed result: 200, 2,000 and 20,000 files of a directory copied, into an OCI
// layout that has the image, with a cache on disk. internal/bench -scaling fits the exponent to what it finds.
func BenchmarkScaleUnchanged(b *testing.B) {
	for _, times := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%dx", times), func(b *testing.B) {
			context, out := b.TempDir(), b.TempDir()
			for i := range 200 * times {
				path := filepath.Join(context, fmt.Sprintf("d%d/f%d", i/50, i))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					b.Fatal(err)
				}
				if err := os.WriteFile(path, fmt.Appendf(nil, "file %d\n", i), 0o644); err != nil {
					b.Fatal(err)
				}
			}
			o := stagewright.Options{
				Context: stagewright.Dir(context), CacheDir: filepath.Join(out, "cache"),
				Sinks: []image.Sink{layout.Dir(filepath.Join(out, "oci"), "bench:latest")},
			}
			build := func() int {
				res, err := stagewright.Build(b.Context(), stage.Scratch().Copy(".", "/srv"), o)
				if err != nil {
					b.Fatal(err)
				}
				ran := res.Report().Ran()
				if err := res.Close(); err != nil {
					b.Fatal(err)
				}
				return ran
			}
			build()
			b.ReportAllocs()
			for b.Loop() {
				if ran := build(); ran != 0 {
					b.Fatalf("%d steps ran", ran)
				}
			}
		})
	}
}
