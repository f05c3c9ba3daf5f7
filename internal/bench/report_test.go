package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func someRow(name string, p phase, ours, theirs time.Duration) *row {
	for _, w := range workloads() {
		if w.name == name {
			r := newRow(w, p)
			r.Samples[nameOurs], r.Samples[nameBuildKit] = []sample{{Wall: ours, Peak: 60 << 20}}, []sample{{Wall: theirs, Peak: 90 << 20}}
			return r
		}
	}
	return nil
}

// What is read back from files gives the tables of the run, later files in place of earlier ones, in the order of the list.
func TestReports(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.json"), filepath.Join(dir, "second.json")
	seed, runs := someRow("seed", unchanged, 20*time.Millisecond, 100*time.Millisecond), someRow("run100", cold, time.Second, 5*time.Second)
	runs.Layers[nameOurs], runs.Layers[nameBuildKit] = 104_000_000, 100_000_000
	runs.Moved[nameOurs] = moved{Up: 105_000_000, Down: 12}
	runs.Children[nameOurs] = 7 << 20
	if err := (&report{Machine: machine{Date: "today", Buildah: "1.28.2 (overlay)"}, Rows: []*row{someRow("run100", cold, 9*time.Second, time.Second)}}).save(first); err != nil {
		t.Fatal(err)
	}
	if err := (&report{Rows: []*row{runs, seed}}).save(second); err != nil {
		t.Fatal(err)
	}
	all, err := readReports([]string{first, second})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if missed := all.table(&b); missed != 1 {
		t.Errorf("%d missed, want the one of run100", missed)
	}
	got := b.String()
	for _, want := range []string{
		"today; ", "Buildah 1.28.2 (overlay)",
		"| a Go program in two stages, on the machine's toolchain and a Debian tree | unchanged | 1 | 100 ms |  |  | 20 ms | 0.200 (0.200–0.200) |  | 0.3: met |",
		"| 100 RUN steps that write one small file each | cold | 1 | 5 s |  |  | 1 s | 0.200 (0.200–0.200) |  | 0.12: **missed** |",
		"| cold | 60 MiB | 7 MiB | 90 MiB | 104.0 MB | 1.040 | 105.0 MB / 12 B |  |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Index(got, "a Go program") > strings.Index(got, "100 RUN steps") {
		t.Errorf("order:\n%s", got)
	}
}

// Each count that a workload promises is told, and each side that failed.
func TestCounted(t *testing.T) {
	n := 3
	r := someRow("files-many", unchanged, 1, 1)
	r.Opened = &n
	p := someRow("platforms", unchanged, 1, 1)
	p.Requests = map[string]int{"GET /v2/": 1, "HEAD manifest": 1}
	base := someRow("base", edited, 1, 1)
	base.Requests, base.BaseRead = map[string]int{"GET blob": 1}, 1_000_000
	failed := someRow("seed", cold, 1, 1)
	failed.Failed[nameOurs], failed.Failed[nameBuildah] = "no\nmore", "gone"
	var b strings.Builder
	if missed := (&report{Rows: []*row{r, p, base, failed}}).counted(&b); missed != 3 {
		t.Errorf("%d missed, want opened files, blobs and our failure:\n%s", missed, b.String())
	}
	for _, want := range []string{"3 files of the context opened, at most 0: **missed**", "must be 1 `GET /v2/`, 1 `HEAD manifest`: met", "1000000 bytes of blobs read, no layer: **missed**",
		"Buildah takes no further part: `gone`", "stagewright takes no further part: `no`"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		times []int
		want  string
	}{
		{[]int{20}, "20 ms"},
		{[]int{980, 1250, 990}, "990 ms (980–1250)"},
		{[]int{1500, 1000, 123_000}, "1.5 s (1–123)"},
	} {
		r := row{Samples: map[string][]sample{}}
		for _, d := range durations(c.times...) {
			r.Samples[nameOurs] = append(r.Samples[nameOurs], sample{Wall: d})
		}
		if got := r.times(nameOurs); got != c.want {
			t.Errorf("%v: %q, want %q", c.times, got, c.want)
		}
	}
}

func TestRounds(t *testing.T) {
	w := workload{pairs: 7}
	for n, want := range map[int]int{1: 1, 4: 4, 5: 7, 9: 9} {
		if got := w.rounds(n); got != want {
			t.Errorf("-n %d: %d rounds, want %d", n, got, want)
		}
	}
}

func TestBetween(t *testing.T) {
	got, err := between([]byte("a\n"+beginMark+"old\n"+endMark+"b\n"), []byte("new\n\n"))
	if want := "a\n" + beginMark + "\nnew\n\n" + endMark + "b\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"", beginMark, endMark + beginMark} {
		if got, err := between([]byte(bad), nil); err == nil {
			t.Errorf("%q gives %q", bad, got)
		}
	}
}
