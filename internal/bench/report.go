package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// report is everything that was found.
type report struct {
	Machine machine `json:"machine"`
	Rows    []*row  `json:"rows"`
}

func (r *report) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	return e.Encode(r)
}

// save writes the report to a file, whole or not at all.
func (r *report) save(path string) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	if err := cmp.Or(r.json(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// readReports joins the reports of several files, of which a later one's rows replace those of the same workload; the machine is that of
// the first.
func readReports(paths []string) (*report, error) {
	var all *report
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var one report
		if err := json.Unmarshal(data, &one); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if all == nil {
			all = &one
			continue
		}
		names := map[string]bool{}
		for _, row := range one.Rows {
			names[row.Workload] = true
		}
		all.Rows = slices.DeleteFunc(all.Rows, func(row *row) bool { return names[row.Workload] })
		all.Rows = append(all.Rows, one.Rows...)
	}
	slices.SortStableFunc(all.Rows, func(a, b *row) int { return place(a.Workload) - place(b.Workload) })
	return all, nil
}

// place is where a workload stands in the list.
func place(name string) int {
	return slices.IndexFunc(workloads(), func(w workload) bool { return w.name == name })
}

// table writes the report in Markdown, as README.md has it. It returns how many promises were not kept.
func (r *report) table(w io.Writer) (missed int) {
	m := r.Machine
	buildah := "no Buildah"
	if m.Buildah != "" {
		buildah = "Buildah " + m.Buildah
	}
	fmt.Fprintf(w, "%s; %d cores of %s, %d GiB, Linux %s, %s, %s; %s; load %s before the first run.\n\n", m.Date, m.Cores, m.CPU, m.Memory>>30, m.Kernel, m.Disk, m.Go, buildah, m.Load)
	fmt.Fprintln(w, "| workload | phase | pairs | BuildKit | Buildah | limit | stagewright | of BuildKit's time | of the limit | must |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|")
	r.eachRow(func(row *row, title string) {
		verdict, bad := row.verdict()
		missed += bad
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", title, row.Phase, row.pairs(), row.times(nameBuildKit), row.times(nameBuildah),
			row.times(nameLimit), row.times(nameOurs), row.ratio(nameBuildKit), row.ratio(nameLimit), verdict)
	})
	fmt.Fprintln(w, "\n| workload | phase | peak memory | of its largest child | BuildKit's daemon | layers | of BuildKit's | sent to / got from the registry | BuildKit |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	r.eachRow(func(row *row, title string) {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", title, row.Phase, mebibytes(row.peak(nameOurs)), mebibytes(row.Children[nameOurs]),
			mebibytes(row.peak(nameBuildKit)), megabytes(row.Layers[nameOurs]), row.layers(), row.moved(nameOurs), row.moved(nameBuildKit))
	})
	return missed + r.counted(w)
}

// eachRow calls do for each row with the title of its workload, which is empty but for the first.
func (r *report) eachRow(do func(row *row, title string)) {
	last := ""
	for _, row := range r.Rows {
		title := row.Title
		if title == last {
			title = ""
		}
		last = row.Title
		do(row, title)
	}
}

// counted writes what was counted, and what failed.
func (r *report) counted(w io.Writer) (missed int) {
	say := func(row *row, kept bool, format string, args ...any) {
		verdict := ": met"
		if !kept {
			missed++
			verdict = ": **missed**"
		}
		fmt.Fprintf(w, "- %s, %s: %s%s.\n", row.Title, row.Phase, fmt.Sprintf(format, args...), verdict)
	}
	fmt.Fprintln(w)
	for _, row := range r.Rows {
		if n := row.Opened; n != nil && row.Must.Opens != nil {
			say(row, *n <= *row.Must.Opens, "%d files of the context opened, at most %d", *n, *row.Must.Opens)
		}
		if row.Requests != nil && row.Must.Requests != nil {
			say(row, maps.Equal(row.Requests, row.Must.Requests), "requests %s, must be %s", list(row.Requests), list(row.Must.Requests))
		}
		if row.Requests != nil && row.Must.NoRead {
			say(row, row.BaseRead <= maxConfig, "%d bytes of blobs read, no layer", row.BaseRead)
		}
		for _, side := range slices.Sorted(maps.Keys(row.Failed)) {
			if side == nameOurs {
				missed++
			}
			reason, _, _ := strings.Cut(strings.TrimSpace(row.Failed[side]), "\n")
			fmt.Fprintf(w, "- %s, %s: %s takes no further part: `%s`\n", row.Title, row.Phase, side, reason)
		}
	}
	return missed
}

func list(requests map[string]int) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(requests)) {
		parts = append(parts, fmt.Sprintf("%d `%s`", requests[kind], kind))
	}
	return strings.Join(parts, ", ")
}

// maxConfig is more bytes than the configurations of bases have, and fewer than any of their layers.
const maxConfig = 20_000

// pairs is how often stagewright ran, and BuildKit where that is another number.
func (r *row) pairs() string {
	ours, theirs := len(r.Samples[nameOurs]), len(r.Samples[nameBuildKit])
	if theirs == 0 || theirs == ours {
		return fmt.Sprint(ours)
	}
	return fmt.Sprintf("%d, %d", theirs, ours)
}

func (r *row) times(side string) string {
	if len(r.Samples[side]) == 0 {
		return ""
	}
	s := spreadOf(r.walls(side))
	if s.Min == s.Max {
		return seconds(s.Median)
	}
	unit, name := time.Second, " s"
	if s.Median < time.Second {
		unit, name = time.Millisecond, " ms"
	}
	in := func(d time.Duration) string { return digits(float64(d) / float64(unit)) }
	return fmt.Sprintf("%s%s (%s–%s)", in(s.Median), name, in(s.Min), in(s.Max))
}

// digits writes at least three digits, and no exponent.
func digits(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// seconds writes a time with three digits.
func seconds(d time.Duration) string {
	if d < time.Second {
		return digits(float64(d)/float64(time.Millisecond)) + " ms"
	}
	return digits(d.Seconds()) + " s"
}

func mebibytes(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func megabytes(n int64) string {
	switch {
	case n == 0:
		return ""
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 100_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// ratio is that of the medians to those of another side, with its interval.
func (r *row) ratio(side string) string {
	if len(r.Samples[nameOurs]) == 0 || len(r.Samples[side]) == 0 {
		return ""
	}
	q := ratioOf(r.walls(nameOurs), r.walls(side))
	return fmt.Sprintf("%.3f (%.3f–%.3f)", q.Value, q.Low, q.High)
}

// layers is the ratio of the sizes of the layers.
func (r *row) layers() string {
	if r.Layers[nameBuildKit] == 0 || r.Layers[nameOurs] == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", float64(r.Layers[nameOurs])/float64(r.Layers[nameBuildKit]))
}

func (r *row) moved(side string) string {
	m, ok := r.Moved[side]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s / %s", cmp.Or(megabytes(m.Up), "0"), cmp.Or(megabytes(m.Down), "0"))
}
