package local_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
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

// scaleFiles is a context in memory.
func scaleFiles(n int) stage.Source {
	files := fstest.MapFS{}
	for i := range n {
		files[fmt.Sprintf("d%d/f%d", i/20, i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "file %d\n", i)}
	}
	return stage.FS(files)
}

// buildOnce builds target with an executor of its own on a store, and reports the steps that ran.
func buildOnce(b *testing.B, store cache.Store, target stage.Stage, context stage.Source) int {
	b.Helper()
	e, err := local.New(local.Options{Store: store})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	res, err := e.Execute(b.Context(), compile(b, target), stage.Request{Context: context})
	if err != nil {
		b.Fatal(err)
	}
	defer res.Close()
	if _, err := res.Outputs()[0].Image.Digest(); err != nil {
		b.Fatal(err)
	}
	return res.Report().Ran()
}

// One Copy of 100, 1,000 and 10,000 files in memory, to the digest of the image: hash, place, diff, write, compress.
func BenchmarkScaleCopy(b *testing.B) {
	scale(b, func(b *testing.B, times int) {
		context := scaleFiles(100 * times)
		for b.Loop() {
			if ran := buildOnce(b, cache.NewMemory(), stage.Scratch().Copy(".", "/srv"), context); ran != 1 {
				b.Fatalf("%d steps ran", ran)
			}
		}
	})
}

// chained is a stage of steps that make a file each.
func chained(steps int) stage.Stage {
	s := stage.Scratch()
	for i := range steps {
		s = s.File(fmt.Sprintf("/d%d/f%d", i%10, i), fmt.Sprint(i))
	}
	return s.Squash()
}

// 10, 100 and 1,000 steps that make a file each, from nothing.
func BenchmarkScaleSteps(b *testing.B) {
	scale(b, func(b *testing.B, times int) {
		for b.Loop() {
			if ran := buildOnce(b, cache.NewMemory(), chained(10*times), nil); ran != 10*times {
				b.Fatalf("%d of %d steps ran", ran, 10*times)
			}
		}
	})
}

// The same steps when nothing changed: none runs.
func BenchmarkScaleUnchangedSteps(b *testing.B) {
	scale(b, func(b *testing.B, times int) {
		store := cache.NewMemory()
		buildOnce(b, store, chained(10*times), nil)
		for b.Loop() {
			if ran := buildOnce(b, store, chained(10*times), nil); ran != 0 {
				b.Fatalf("%d steps ran", ran)
			}
		}
	})
}

// 1, 10 and 100 Run steps in a row.
func BenchmarkScaleRun(b *testing.B) {
	base := shellOnDisk(b)
	scale(b, func(b *testing.B, times int) {
		e := executor(b, b.TempDir(), local.Options{})
		build(b, e, base.Run("true"), stage.Request{})
		n := 0
		for b.Loop() {
			s := base
			for range times {
				n++
				s = s.RunExec([]string{"true", fmt.Sprint(n)})
			}
			res := build(b, e, s, stage.Request{})
			if ran := res.Report().Ran(); ran != times {
				b.Fatalf("%d of %d steps ran", ran, times)
			}
			res.Close()
		}
	})
}
