package stagewright_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/stage"
)

// The same build again in the process that did it, into an OCI layout and an archive, as in most builds ("hit") and as once in an hour,
// when it marks all that its image stands on as used ("marking"). The budgets are 5 ms for two stages and 20 ms for the chain.
func BenchmarkUnchanged(b *testing.B) {
	base := "oci-layout://" + filepath.Join(b.TempDir(), "base") + ":1"
	first := benched{b: b, cache: b.TempDir()}
	first.build(shell(b), layout.Dir(strings.TrimSuffix(strings.TrimPrefix(base, "oci-layout://"), ":1"), "1"))
	context := b.TempDir()
	if err := os.WriteFile(filepath.Join(context, "main.go"), []byte("package main\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	made := stage.From(base, stage.As("builder")).Env("A", "b").Workdir("/app").Copy("*.go", "./").Copy(".", ".").
		Run("seq 10000 > /main", stage.CacheMount("/c"))
	chain := stage.From(base)
	for i := range 100 {
		chain = chain.Run(fmt.Sprintf("echo %d > /file%d", i, i))
	}
	for name, s := range map[string]stage.Stage{
		"stages": stage.Scratch(stage.As("app")).CopyFrom(made, "/main", "/app/main").Cmd("/app/main"),
		"chain":  chain,
	} {
		out := b.TempDir()
		again := benched{b, b.TempDir(), context}
		sinks := []image.Sink{layout.Dir(filepath.Join(out, "oci"), "bench:latest"), archive.Docker(filepath.Join(out, "image.tar"), "bench:latest")}
		again.build(s, sinks...)
		for _, kind := range []string{"hit", "marking"} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				again.b = b
				var times []time.Duration
				for b.Loop() {
					b.StopTimer()
					if kind == "marking" {
						longAgo(b, again.cache)
					}
					b.StartTimer()
					start := time.Now()
					again.build(s, sinks...)
					times = append(times, time.Since(start))
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[0].Microseconds())/1000, "ms/min")
				b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "ms/median")
			})
		}
	}
}

type benched struct {
	b              *testing.B
	cache, context string
}

func (p benched) build(s stage.Stage, sinks ...image.Sink) {
	p.b.Helper()
	o := stagewright.Options{CacheDir: p.cache, Sinks: sinks}
	if p.context != "" {
		o.Context = stagewright.Dir(p.context)
	}
	res, err := stagewright.Build(p.b.Context(), s, o)
	if err == nil {
		err = res.Close()
	}
	if err != nil {
		p.b.Fatal(err)
	}
}

// longAgo sets the records of when builds have marked what they use back by two hours, and tells how many there are.
func longAgo(tb testing.TB, dir string) (n int) {
	tb.Helper()
	disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	defer disk.Close()
	files, err := filepath.Glob(filepath.Join(dir, "records/*/*"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		if !bytes.Contains(data, []byte(`{"touched":`)) {
			continue
		}
		key, err := cache.ParseKey("key:" + filepath.Base(f))
		if err != nil {
			tb.Fatal(err)
		}
		data, err = disk.Get(tb.Context(), key)
		if err != nil {
			tb.Fatal(err)
		}
		var mark map[string]json.RawMessage
		if err := json.Unmarshal(data, &mark); err != nil {
			tb.Fatal(err)
		}
		mark["touched"] = fmt.Append(nil, time.Now().Add(-2*time.Hour).Unix())
		if data, err = json.Marshal(mark); err == nil {
			err = disk.Put(tb.Context(), key, data)
		}
		if err != nil {
			tb.Fatal(err)
		}
		n++
	}
	return n
}
