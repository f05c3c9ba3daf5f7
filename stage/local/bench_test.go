package local_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// One Run step of `true` through the executor: sandbox, overlay, diff and record.
// The budget is 15 ms in the median.
func BenchmarkRunTrue(b *testing.B) {
	base := shellOnDisk(b)
	e := executor(b, b.TempDir(), local.Options{})
	build(b, e, base.Run("true"), stage.Request{})
	var times []time.Duration
	n := 0
	for b.Loop() {
		n++
		start := time.Now()
		res := build(b, e, base.RunExec([]string{"true", fmt.Sprint(n)}), stage.Request{})
		times = append(times, time.Since(start))
		res.Close()
	}
	slices.Sort(times)
	for name, i := range map[string]int{"ms/min": 0, "ms/quartile": len(times) / 4, "ms/median": len(times) / 2} {
		b.ReportMetric(float64(times[i].Microseconds())/1000, name)
	}
}

// A hundred Run steps in a row that write a file each. The budget is 2 s.
func BenchmarkRun100(b *testing.B) {
	base := shell(b)
	for b.Loop() {
		b.StopTimer()
		e := executor(b, b.TempDir(), local.Options{})
		build(b, e, base, stage.Request{})
		s := base
		for i := range 100 {
			s = s.Run(fmt.Sprintf("echo %d > /file%d", i, i))
		}
		b.StartTimer()
		build(b, e, s, stage.Request{})
	}
}

// An image of three small files in memory, to its digest. The budget is 1 ms.
func BenchmarkCopyOnlyImage(b *testing.B) {
	context := stage.FS(fstest.MapFS{
		"app":             {Data: []byte("#!/bin/sh\necho hello\n"), Mode: 0o755},
		"etc/config.yaml": {Data: []byte("a: 1\n")},
		"etc/passwd":      {Data: []byte("root:x:0:0::/:/bin/sh\n")},
	})
	app := stage.Scratch().Copy(".", "/").Cmd("/app")
	for b.Loop() {
		e, err := local.New(local.Options{Store: cache.NewMemory()})
		if err != nil {
			b.Fatal(err)
		}
		g, err := stage.Compile(b.Context(), []stage.Stage{app}, stage.Options{})
		if err != nil {
			b.Fatal(err)
		}
		res, err := e.Execute(b.Context(), g, stage.Request{Context: context})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := res.Outputs()[0].Image.Digest(); err != nil {
			b.Fatal(err)
		}
		res.Close()
		e.Close()
	}
}
