package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
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

// table writes the report in Markdown. It returns how many promises were not kept.
func (r *report) table(w io.Writer) (missed int) {
	m := r.Machine
	fmt.Fprintf(w, "%s; %d cores of %s, %d GiB, Linux %s, %s, %s; load %s before the first run.\n\n", m.Date, m.Cores, m.CPU, m.Memory>>30, m.Kernel, m.Disk, m.Go, m.Load)
	fmt.Fprintln(w, "| workload | phase | pairs | BuildKit | stagewright | ratio (of the pairs) | must | peak memory, BuildKit / stagewright | pushed, BuildKit / stagewright |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	title := ""
	for _, row := range r.Rows {
		shown := row.Title
		if shown == title {
			shown = ""
		}
		title = row.Title
		verdict, bad := row.verdict()
		missed += bad
		fmt.Fprintf(w, "| %s | %s | %d | %s | %s | %s | %s | %s | %s |\n", shown, row.Phase, row.Runs, row.times("BuildKit"), row.times("stagewright"), row.ratio(), verdict,
			row.peaks(), row.sizes())
	}
	r.limits(w)
	return missed + r.requests(w) + r.opens(w)
}

// opens writes how many files were opened.
func (r *report) opens(w io.Writer) (missed int) {
	for _, row := range r.Rows {
		switch {
		case row.Opened == nil:
		case row.Phase == cold:
			fmt.Fprintf(w, "\n%s, %s: %d files opened.\n", row.Title, row.Phase, *row.Opened)
		case *row.Opened <= row.opens:
			fmt.Fprintf(w, "\n%s, %s: %d files opened, at most %d: met.\n", row.Title, row.Phase, *row.Opened, row.opens)
		default:
			missed++
			fmt.Fprintf(w, "\n%s, %s: %d files opened, at most %d: **missed**.\n", row.Title, row.Phase, *row.Opened, row.opens)
		}
	}
	return missed
}

// limits writes the rows that were compared with the bare limit.
func (r *report) limits(w io.Writer) {
	for _, row := range r.Rows {
		if s := row.Samples["limit"]; len(s) > 0 {
			fmt.Fprintf(w, "\n%s, %s: the bare limit is %s, %.2f of stagewright's time.\n", row.Title, row.Phase, row.times("limit"),
				median(s)/median(row.Samples["stagewright"]))
		}
	}
}

// requests writes what was counted.
func (r *report) requests(w io.Writer) (missed int) {
	for _, row := range r.Rows {
		if row.Requests == nil {
			continue
		}
		var list []string
		for _, kind := range slices.Sorted(maps.Keys(row.Requests)) {
			list = append(list, fmt.Sprintf("%d %s", row.Requests[kind], kind))
		}
		verdict := ""
		switch {
		case row.requests != nil && !maps.Equal(row.requests, row.Requests):
			verdict = fmt.Sprintf(": **missed**, must be %v", row.requests)
			missed++
		case row.noRead && row.BaseRead > maxConfig:
			verdict = ": **missed**, no layer may be read"
			missed++
		case row.requests != nil || row.noRead:
			verdict = ": met"
		}
		fmt.Fprintf(w, "\n%s, %s: requests %s; %d bytes of blobs read%s.\n", row.Title, row.Phase, strings.Join(list, ", "), row.BaseRead, verdict)
	}
	return missed
}

// maxConfig is more bytes than the configurations of bases have, and fewer than any of their layers.
const maxConfig = 20_000

// median is the median wall time, in seconds.
func median(samples []sample) float64 { return spreadOf(walls(samples)).Median.Seconds() }

func walls(samples []sample) []time.Duration {
	var list []time.Duration
	for _, s := range samples {
		list = append(list, s.Wall)
	}
	return list
}

func (r *row) times(side string) string {
	if len(r.Samples[side]) == 0 {
		return ""
	}
	s := spreadOf(walls(r.Samples[side]))
	return fmt.Sprintf("%s (%s–%s)", seconds(s.Median), seconds(s.Min), seconds(s.Max))
}

// seconds writes a time with three digits.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

// ratio is that of the medians, and the least and the largest of the pairs.
func (r *row) ratio() string {
	ours, theirs := r.Samples["stagewright"], r.Samples["BuildKit"]
	if len(theirs) == 0 {
		return ""
	}
	var pairs []float64
	for i := range ours {
		pairs = append(pairs, ours[i].Wall.Seconds()/theirs[i].Wall.Seconds())
	}
	s := spreadOf(pairs)
	return fmt.Sprintf("%.3f (%.3f–%.3f)", median(ours)/median(theirs), s.Min, s.Max)
}

// verdict holds the row to its budget.
func (r *row) verdict() (text string, missed int) {
	ours, theirs := r.Samples["stagewright"], r.Samples["BuildKit"]
	var parts []string
	say := func(kept bool, format string, args ...any) {
		word := "met"
		if !kept {
			word = "**missed**"
			missed++
		}
		parts = append(parts, fmt.Sprintf(format, args...)+": "+word)
	}
	if b := r.budget.ratio; b > 0 && len(theirs) > 0 {
		say(median(ours)/median(theirs) <= b, "%g", b)
	}
	if b := r.budget.wall; b > 0 {
		say(median(ours) <= b.Seconds(), "%s", seconds(b))
	}
	if peak := r.peak("stagewright").Max; peak > maxPeak {
		say(false, "150 MiB")
	}
	if theirs, ours := r.Pushed["BuildKit"], r.Pushed["stagewright"]; r.Phase == cold && theirs > 0 && float64(ours) > 1.05*float64(theirs)+10_000 {
		say(false, "5 %% more bytes")
	}
	return strings.Join(parts, ", "), missed
}

// maxPeak is what stagewright may use at most, on any row.
const maxPeak = 150 << 20

func (r *row) peak(side string) spread[int64] {
	var list []int64
	for _, s := range r.Samples[side] {
		list = append(list, s.Peak)
	}
	if list == nil {
		return spread[int64]{}
	}
	return spreadOf(list)
}

func (r *row) peaks() string {
	return fmt.Sprintf("%d / %d MiB", r.peak("BuildKit").Max>>20, r.peak("stagewright").Max>>20)
}

func (r *row) sizes() string {
	return fmt.Sprintf("%.1f / %.1f MB", float64(r.Pushed["BuildKit"])/1e6, float64(r.Pushed["stagewright"])/1e6)
}
