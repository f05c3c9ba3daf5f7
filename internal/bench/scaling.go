package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scaled are the packages whose benchmarks BenchmarkScale* have the sizes 1x, 10x and 100x.
var scaled = []string{".", "./cache", "./internal/compress", "./internal/layertar", "./internal/snapshot", "./internal/tree", "./stage/local", "./stage/source"}

// maxAllocations is the largest exponent that the number of allocations may have. Allocations are counted, not timed: a benchmark that
// makes the square of them has the exponent 2 on every machine.
const maxAllocations = 1.3

// scaling runs the benchmarks that have sizes, and builds of growing size as whole processes, and prints how their figures grow. It returns
// how many counted figures are wrong; times are only told.
func scaling(ctx context.Context, dir string, w io.Writer) (missed int, err error) {
	m := thisMachine(dir)
	fmt.Fprintf(w, "%s; %d cores of %s, Linux %s, %s; load %s. Exponents: 1 is as the size, 0 is not at all.\n\n", m.Date, m.Cores, m.CPU, m.Kernel, m.Go, m.Load)
	fmt.Fprintln(w, "| benchmark | 1x | 10x | 100x | time grows as | bytes allocated | allocations |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	where, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/stagewright/stagewright").Output()
	if err != nil {
		return 0, fmt.Errorf("go list -m: %w", err)
	}
	for _, pkg := range scaled {
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkScale", "-benchtime", "20ms", "-timeout", "5m", pkg)
		cmd.Dir = strings.TrimSpace(string(where))
		out, err := cmd.CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
		}
		for _, s := range readSeries(bytes.NewReader(out)) {
			missed += s.print(w, pkg)
		}
	}
	n, err := growth(ctx, dir, w)
	return missed + n, err
}

// series is one benchmark at several sizes.
type series struct {
	name                  string
	sizes                 []float64
	time, bytes, allocate []float64 // by size
}

// readSeries reads what `go test -bench` prints of benchmarks whose names end with /1x, /10x and so on.
func readSeries(r io.Reader) (all []series) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name, size, ok := strings.Cut(fields[0], "/")
		size, _, _ = strings.Cut(size, "-") // the number of processors
		times, err := strconv.ParseFloat(strings.TrimSuffix(size, "x"), 64)
		if !ok || err != nil {
			continue
		}
		i := slices.IndexFunc(all, func(s series) bool { return s.name == name })
		if i < 0 {
			i = len(all)
			all = append(all, series{name: name})
		}
		s := &all[i]
		s.sizes = append(s.sizes, times)
		for unit, list := range map[string]*[]float64{"ns/op": &s.time, "B/op": &s.bytes, "allocs/op": &s.allocate} {
			if at := slices.Index(fields, unit); at > 0 {
				if n, err := strconv.ParseFloat(fields[at-1], 64); err == nil {
					*list = append(*list, n)
				}
			}
		}
	}
	return all
}

// print writes one line.
func (s series) print(w io.Writer, pkg string) (missed int) {
	n := len(s.sizes)
	if n < 2 || len(s.time) != n || len(s.bytes) != n || len(s.allocate) != n {
		fmt.Fprintf(w, "| %s %s | no figures: **missed** | | | | | |\n", pkg, s.name)
		return 1
	}
	allocations := exponent(s.sizes, s.allocate)
	verdict := ""
	if allocations > maxAllocations {
		verdict = fmt.Sprintf(", at most %g: **missed**", maxAllocations)
		missed++
	}
	var times []string
	for _, t := range s.time {
		times = append(times, nanoseconds(t))
	}
	fmt.Fprintf(w, "| %s %s | %s | %.2f | %.2f | %.2f%s |\n", pkg, strings.TrimPrefix(s.name, "BenchmarkScale"), strings.Join(times, " | "),
		exponent(s.sizes, s.time), exponent(s.sizes, s.bytes), allocations, verdict)
	return missed
}

func nanoseconds(ns float64) string {
	switch {
	case ns < 1e3:
		return fmt.Sprintf("%.3g ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.3g µs", ns/1e3)
	}
	return seconds(time.Duration(ns))
}
