package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A phase is a state of the world before a build.
type phase string

const (
	cold      phase = "cold"      // nothing is cached; BuildKit's daemon runs, its cache pruned
	unchanged phase = "unchanged" // the same build again
	edited    phase = "edit"      // again, after one small edit
	elsewhere phase = "elsewhere" // again, after another edit, to a repository that is not there yet
	again     phase = "again"     // the same build again, in the process that did it: the least of 20, since a scheduler shows in the others
)

// A budget is what the project promises of one phase. A zero field promises nothing.
type budget struct {
	ratio float64       // of stagewright's median to BuildKit's
	wall  time.Duration // of stagewright's median
}

// A workload is one piece of work, in the forms that the sides need.
type workload struct {
	name, title string
	// make writes the build context, Dockerfile included. With builds > 0 it is called for each of the directories 0, 1, ...
	make func(dir string, in inputs) error
	// edit makes the n-th small edit of a context.
	edit      func(dir string, n int) error
	builds    int    // builds at once; 0 is one
	platforms string // as of --platform
	bases     []string
	phases    []phase
	budgets   map[phase]budget
	// program is the name of the form in Go (package program) that stagewright runs; "" is examples/dockerfile on the Dockerfile.
	program string
	// oursOnly: BuildKit has no form of it, or its time is of no interest.
	oursOnly bool
	limit    bool // the bare limit is measured, too
	tar      bool // the image goes to an OCI archive, not to the registry
	local    bool // the image goes to an OCI layout and a docker archive, as the quickstart's does
	// requests are what stagewright may ask the registry for, by phase; noRead are phases in which it may read no layer. Either makes
	// it run once more, through a proxy that counts.
	requests map[phase]map[string]int
	noRead   map[phase]bool
	// opens is how many files of the context stagewright may open, by phase. They are counted in a run of their own.
	opens map[phase]int
}

// counted tells whether requests are counted.
func (w workload) counted() bool { return w.requests != nil || w.noRead != nil }

// inputs are what contexts are made of.
type inputs struct {
	registry string // where the bases are
	goroot   string
}

var allPhases = []phase{cold, unchanged, edited}

func budgets(ratios ...float64) map[phase]budget {
	m := map[phase]budget{}
	for i, r := range ratios {
		m[allPhases[i]] = budget{ratio: r}
	}
	return m
}

// workloads are the rows of the table.
func workloads() []workload {
	const two = "linux/amd64,linux/arm64"
	return []workload{
		{name: "files-few", title: "two platforms, files only: 12 files", make: makeFew, edit: editFile("a/1"), platforms: two,
			phases: allPhases, budgets: budgets(0.25, 0.4, 0.3), tar: true},
		{name: "files-few-push", title: "two platforms, files only: 12 files, pushed", make: makeFew, edit: editFile("a/1"), platforms: two,
			phases: allPhases, budgets: budgets(0.25, 0.4, 0.3), requests: map[phase]map[string]int{unchanged: {"GET /v2/": 1, "HEAD manifest": 1}}},
		{name: "files-tree", title: "two platforms, files only: 7,000 files of Go's source, 100 MB", make: makeTree, edit: editFile("src/runtime/extra.go"),
			platforms: two, phases: allPhases, budgets: budgets(0.25, 0.4, 0.3), limit: true, tar: true},
		{name: "files-platform", title: "two platforms, files only: a 24 MB program of each", make: makePerPlatform, edit: editFile("etc/app.conf"),
			platforms: two, phases: allPhases, budgets: budgets(0.25, 0.4, 0.3), tar: true},
		{name: "base", title: "one small file on a 120 MB base", make: makeOnBase, edit: editFile("file"), bases: []string{"large"},
			phases: []phase{cold, unchanged, edited, elsewhere}, program: "onefile",
			noRead: map[phase]bool{unchanged: true, edited: true, elsewhere: true},
			budgets: map[phase]budget{
				cold: {ratio: 0.25}, unchanged: {ratio: 0.4}, edited: {ratio: 0.4, wall: 100 * time.Millisecond}, elsewhere: {wall: 100 * time.Millisecond},
			}},
		{name: "base-link", title: "one small file on a 120 MB base, COPY --link", make: makeLinked, edit: editFile("file"), bases: []string{"large"},
			phases: []phase{cold, unchanged, edited, elsewhere},
			noRead: map[phase]bool{cold: true, unchanged: true, edited: true, elsewhere: true}},
		{name: "run100", title: "100 RUN steps that write one small file each", make: makeRuns, edit: editLine("step 0"), bases: []string{"shell"},
			phases: allPhases, budgets: budgets(0.12, 0.1, 0.12)},
		{name: "stages32", title: "32 independent stages that sleep 0.2 s, gathered by one", make: makeSleepers, edit: editFile("seed"), bases: []string{"shell"},
			phases: allPhases, budgets: budgets(0.3, 0.3, 0.4)},
		{name: "files-many", title: "50,000 small files", make: makeMany, edit: editFile("d7/f7"), phases: allPhases, limit: true,
			opens:   map[phase]int{unchanged: 0, edited: 2000},
			budgets: map[phase]budget{cold: {ratio: 0.12}, unchanged: {ratio: 0.1, wall: 150 * time.Millisecond}, edited: {ratio: 0.12}}},
		{name: "files-large", title: "1 GiB in 8 files, half text, half random", make: makeLarge, edit: editBytes("f1"), phases: allPhases,
			budgets: budgets(0.2, 0.4, 0.1), limit: true},
		{name: "builds16", title: "16 different builds at once in one process, shared base", make: makeOneOfMany, edit: editFile("files/1"), builds: 16,
			bases: []string{"shell"}, phases: allPhases, program: "many", budgets: budgets(0.4, 0.2, 0.3)},
		{name: "graph", title: "a graph of 10,000 steps in 1,000 stages, files only", make: makeNothing, edit: editFile("file"), program: "graph", oursOnly: true,
			phases: allPhases, budgets: map[phase]budget{
				cold: {wall: 2 * time.Second}, unchanged: {wall: 200 * time.Millisecond}, edited: {wall: 200 * time.Millisecond},
			}},
		{name: "seed", title: "a Go program in two stages", make: makeSeed, edit: editFile("app/edited.go", "package main\n\nconst edited = %d\n"),
			bases: []string{"golang", "shell"}, phases: allPhases, budgets: map[phase]budget{unchanged: {ratio: 0.3}}},
		{name: "again-seed", title: "the same in Go, into a layout and an archive", make: makeSeed, bases: []string{"golang", "shell"}, program: "seed", oursOnly: true, local: true,
			phases: []phase{cold, unchanged, again}, budgets: map[phase]budget{unchanged: {wall: 25 * time.Millisecond}, again: {wall: 5 * time.Millisecond}}},
		{name: "again-chain", title: "100 steps in a row, into a layout and an archive", make: makeNothing, bases: []string{"shell"}, program: "chain", oursOnly: true, local: true,
			phases: []phase{cold, unchanged, again}, budgets: map[phase]budget{unchanged: {wall: 20 * time.Millisecond}, again: {wall: 20 * time.Millisecond}}},
	}
}

// editFile overwrites a file with a text that has n in it.
func editFile(name string, format ...string) func(string, int) error {
	return func(dir string, n int) error {
		text := "edit %d\n"
		if len(format) > 0 {
			text = format[0]
		}
		return write(dir, name, fmt.Appendf(nil, text, n))
	}
}

// editBytes overwrites the first bytes of a file.
func editBytes(name string) func(string, int) error {
	return func(dir string, n int) error {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(f, "edit %d\n", n)
		return errors.Join(err, f.Close())
	}
}

// editLine puts n behind a text of the Dockerfile.
func editLine(text string) func(string, int) error {
	return func(dir string, n int) error {
		path := filepath.Join(dir, "Dockerfile")
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, replaceAfter(old, text, fmt.Sprintf(", edit %d.", n)), 0o644)
	}
}
