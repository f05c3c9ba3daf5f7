package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		figures []int
		want    spread[int]
	}{
		{[]int{7}, spread[int]{7, 7, 7}},
		{[]int{3, 1, 2}, spread[int]{1, 2, 3}},
		{[]int{4, 1, 3, 2}, spread[int]{1, 2, 4}},
	} {
		if got := spreadOf(c.figures); got != c.want {
			t.Errorf("spreadOf(%v) = %v, want %v", c.figures, got, c.want)
		}
	}
}

// An edit replaces the one before it, so that contexts do not grow from round to round.
func TestEditLine(t *testing.T) {
	dir := t.TempDir()
	if err := makeRuns(dir, inputs{registry: "localhost:1"}); err != nil {
		t.Fatal(err)
	}
	edit := editLine("step 0")
	var lines []string
	for n := range 3 {
		if err := edit(dir, n+1); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(string(data), "\n")[1])
	}
	want := []string{"RUN : step 0, edit 1.; echo 0 > /file0", "RUN : step 0, edit 2.; echo 0 > /file0", "RUN : step 0, edit 3.; echo 0 > /file0"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

// Contexts are the same each time, whoever makes them.
func TestContextsAreFixed(t *testing.T) {
	for _, make := range []func(string, inputs) error{makeFew, makeOnBase, makeSleepers, makeSeed} {
		var found [2][]byte
		for i := range found {
			dir := filepath.Join(t.TempDir(), "0")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := make(dir, inputs{registry: "localhost:1"}); err != nil {
				t.Fatal(err)
			}
			err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				data, err := os.ReadFile(path)
				found[i] = append(append(found[i], strings.TrimPrefix(path, dir)...), data...)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(found[0], found[1]) {
			t.Error("two contexts of one workload differ")
		}
	}
}

func TestWorkloadsAreWhole(t *testing.T) {
	names := map[string]bool{}
	for _, w := range workloads() {
		if names[w.name] {
			t.Errorf("two workloads are called %s", w.name)
		}
		names[w.name] = true
		if w.phases == nil || w.phases[0] != cold {
			t.Errorf("%s does not begin cold", w.name)
		}
		for p := range w.budgets {
			if !slices.Contains(w.phases, p) {
				t.Errorf("%s promises something of the phase %s, which it has not got", w.name, p)
			}
		}
	}
}

func TestVerdict(t *testing.T) {
	samples := func(side string, d time.Duration) map[string][]sample { return map[string][]sample{side: {{Wall: d}}} }
	all := samples("stagewright", 30*time.Millisecond)
	all["BuildKit"] = []sample{{Wall: 100 * time.Millisecond}}
	all["limit"] = []sample{{Wall: 20 * time.Millisecond}}
	large := map[string][]sample{"stagewright": {{Wall: 1, Peak: 151 << 20}}}
	for _, c := range []struct {
		row    row
		want   string
		missed int
	}{
		{row{Samples: all, Budget: budget{Ratio: 0.3}}, "0.3: met", 0},
		{row{Samples: all, Budget: budget{Ratio: 0.25, Wall: 100 * time.Millisecond}}, "0.25: **missed**, 100 ms: met", 1},
		{row{Samples: all, Budget: budget{Limit: 1.5}}, "1.5 of the limit: met", 0},
		{row{Samples: all, Budget: budget{Limit: 1.05}}, "1.05 of the limit: **missed**", 1},
		{row{Samples: samples("stagewright", time.Second), Budget: budget{Ratio: 0.3, Limit: 1}}, "", 0}, // nothing to compare with
		{row{Samples: samples("BuildKit", time.Second), Budget: budget{Ratio: 0.3}}, "", 0},              // told apart
		{row{Samples: large}, "150 MiB: **missed**", 1},
		{row{Samples: all, Layers: map[string]int64{"BuildKit": 1e6, "stagewright": 2e6}}, "bytes within 5 % of BuildKit's: **missed**", 1},
		{row{Samples: all, Layers: map[string]int64{"BuildKit": 1e6, "stagewright": 1.04e6, "limit": 1.03e6}}, "", 0},
		{row{Samples: all, Layers: map[string]int64{"limit": 1e6, "stagewright": 2e6}}, "bytes within 5 % of the limit's: **missed**", 1},
	} {
		if got, missed := c.row.verdict(); got != c.want || missed != c.missed {
			t.Errorf("verdict %q, %d missed; want %q, %d", got, missed, c.want, c.missed)
		}
	}
}

func TestKindOfRequest(t *testing.T) {
	for path, want := range map[string]string{
		"/v2/":                                  "/v2/",
		"/v2/a/b/manifests/1.0":                 "manifest",
		"/v2/a/blobs/sha256:00":                 "blob",
		"/v2/a/blobs/uploads/":                  "upload",
		"/v2/a/blobs/uploads/?mount=x&from=b/c": "mount",
		"/v2/a/blobs/uploads/5?digest=sha256:0": "upload",
	} {
		r, err := http.NewRequest(http.MethodGet, "http://localhost"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := kind(r); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

// Every open of a file counts, and two of one file in a row are one; those of directories and of the Dockerfile do not.
func TestOpens(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"Dockerfile", "a/one", "a/b/two", "three"} {
		if err := write(dir, name, nil); err != nil {
			t.Fatal(err)
		}
	}
	n, err := opens(dir, func() error {
		for _, name := range []string{"Dockerfile", "a/one", "a/b/two", "a/one", "a", ""} {
			f, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			f.Close()
		}
		_, err := os.Stat(filepath.Join(dir, "three"))
		return err
	})
	if err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
}
