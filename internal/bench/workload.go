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
	Ratio float64       `json:"ratio,omitempty"` // of stagewright's median to BuildKit's
	Limit float64       `json:"limit,omitempty"` // of stagewright's median to that of the bare limit
	Wall  time.Duration `json:"wall,omitempty"`  // of stagewright's median
}

// A workload is one piece of work, in the forms that the sides need.
type workload struct {
	name, title string
	// more is a workload that the issue's table has not got: it runs when -all or -only ask for it.
	more bool
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
	// oursOnly: the others have no form of it, or their time is of no interest.
	oursOnly bool
	// noBuildah says why Buildah takes no part, where it does not.
	noBuildah string
	// limitForm is the form of package program that is the bare limit, "" for none; it is measured in the phases of limits.
	limitForm string
	limits    []phase
	// pairs is the least number of pairs with the limit, when at least 5 were asked for.
	pairs int
	tar   bool // the image goes to an OCI archive, not to the registry
	local bool // the image goes to an OCI layout and a docker archive, as the quickstart's does
	// requests are what stagewright may ask the registry for, by phase; noRead are phases in which it may read no layer.
	requests map[phase]map[string]int
	noRead   map[phase]bool
	// opens is how many files of the context stagewright may open, by phase.
	opens map[phase]int
}

// counted tells whether it can run once more, through a proxy that counts.
func (w workload) counted() bool { return !w.tar && !w.local }

// rounds is how often a workload runs when n pairs were asked for: the others take part in the first n.
func (w workload) rounds(n int) int {
	if n >= 5 {
		return max(n, w.pairs)
	}
	return n
}

// inputs are what contexts are made of.
type inputs struct {
	registry string // where the bases are
	goroot   string
}

var allPhases = []phase{cold, unchanged, edited}

func budgets(ratios ...float64) map[phase]budget {
	m := map[phase]budget{}
	for i, r := range ratios {
		m[allPhases[i]] = budget{Ratio: r}
	}
	return m
}

// workloads are the rows of the table: those of the issue first.
func workloads() []workload { return append(issueWorkloads(), moreWorkloads()...) }

const twoPlatforms = "linux/amd64,linux/arm64"

func issueWorkloads() []workload {
	return []workload{
		{name: "seed", title: "a Go program in two stages, on the machine's toolchain and a Debian tree", make: makeSeed,
			edit: editFile("app/edited.go", "package main\n\nconst edited = %d\n"), bases: []string{"golang", "debian"}, phases: allPhases,
			limitForm: "limit-seed", limits: []phase{cold, edited}, pairs: 7,
			budgets: map[phase]budget{cold: {Limit: 1.05}, unchanged: {Ratio: 0.3}, edited: {Limit: 1.2}}},
		{name: "run100", title: "100 RUN steps that write one small file each", make: makeRuns, edit: editLine("step 0"), bases: []string{"shell"},
			phases: allPhases, budgets: budgets(0.12, 0.1, 0.12)},
		{name: "stages32", title: "32 independent stages that sleep 0.2 s, gathered by one", make: makeSleepers, edit: editFile("seed"), bases: []string{"shell"},
			phases: allPhases, budgets: budgets(0.3, 0.3, 0.4)},
		{name: "files-many", title: "50,000 small files", make: makeMany, edit: editFile("d7/f7"), phases: allPhases, limitForm: "limit", limits: []phase{cold},
			opens:   map[phase]int{unchanged: 0, edited: 2000},
			budgets: map[phase]budget{cold: {Ratio: 0.12}, unchanged: {Ratio: 0.1, Wall: 150 * time.Millisecond}, edited: {Ratio: 0.12}}},
		{name: "files-large", title: "1 GiB in 8 files, half text, half random", make: makeLarge, edit: editBytes("f1"), phases: allPhases,
			limitForm: "limit", limits: []phase{cold}, opens: map[phase]int{unchanged: 0},
			budgets: map[phase]budget{cold: {Ratio: 0.2, Limit: 1.25}, unchanged: {Ratio: 0.4}, edited: {Ratio: 0.1}}},
		{name: "base", title: "one small file on a 120 MB base", make: makeOnBase, edit: editFile("file"), bases: []string{"large"},
			phases: []phase{cold, unchanged, edited, elsewhere}, noRead: map[phase]bool{unchanged: true, edited: true, elsewhere: true},
			budgets: map[phase]budget{
				cold: {Ratio: 0.25}, unchanged: {Ratio: 0.4}, edited: {Ratio: 0.4, Wall: 100 * time.Millisecond}, elsewhere: {Wall: 100 * time.Millisecond},
			}},
		{name: "platforms", title: "two platforms, files only: 12 files", make: makeFew, edit: editFile("a/1"), platforms: twoPlatforms,
			phases: allPhases, budgets: budgets(0.25, 0.4, 0.3), requests: map[phase]map[string]int{unchanged: {"GET /v2/": 1, "HEAD manifest": 1}}},
		{name: "builds16", title: "16 different builds at once in one process, shared base", make: makeOneOfMany, edit: editFile("files/1"), builds: 16,
			bases: []string{"shell"}, phases: allPhases, program: "many", budgets: budgets(0.4, 0.2, 0.3)},
		{name: "graph", title: "a graph of 10,000 steps in 1,000 stages, files only", make: makeGraph, edit: editFile("file"), oursOnly: true,
			phases: allPhases, budgets: graphBudgets()},
	}
}

func graphBudgets() map[phase]budget {
	return map[phase]budget{cold: {Wall: 2 * time.Second}, unchanged: {Wall: 200 * time.Millisecond}, edited: {Wall: 200 * time.Millisecond}}
}

func moreWorkloads() []workload {
	more := []workload{
		{name: "graph-go", title: "a graph of 10,000 steps in 1,000 stages, in Go", make: makeNothing, edit: editFile("file"), program: "graph", oursOnly: true,
			phases: allPhases, budgets: graphBudgets()},
		{name: "platforms-few", title: "two platforms, files only: 12 files, into an archive", make: makeFew, edit: editFile("a/1"), platforms: twoPlatforms,
			phases: allPhases, budgets: budgets(0.25, 0.4, 0.3), tar: true},
		{name: "platforms-tree", title: "two platforms, files only: 7,000 files of Go's source, 100 MB, into an archive", make: makeTree,
			edit: editFile("src/runtime/extra.go"), platforms: twoPlatforms, phases: allPhases, budgets: budgets(0.25, 0.4, 0.3),
			limitForm: "limit", limits: []phase{cold}, tar: true},
		{name: "platforms-programs", title: "two platforms, files only: a 24 MB program of each, into an archive", make: makePerPlatform,
			edit: editFile("etc/app.conf"), platforms: twoPlatforms, phases: allPhases, budgets: budgets(0.25, 0.4, 0.3), tar: true},
		{name: "base-link", title: "one small file on a 120 MB base, COPY --link", make: makeLinked, edit: editFile("file"), bases: []string{"large"},
			phases: []phase{cold, unchanged, edited, elsewhere}, noBuildah: "Buildah 1.28 knows no --link",
			noRead: map[phase]bool{cold: true, unchanged: true, edited: true, elsewhere: true}},
		{name: "again-seed", title: "the Go program in Go, into a layout and an archive", make: makeSeed, bases: []string{"golang", "debian"}, program: "seed", oursOnly: true, local: true,
			phases: []phase{cold, unchanged, again}, budgets: map[phase]budget{unchanged: {Wall: 25 * time.Millisecond}, again: {Wall: 5 * time.Millisecond}}},
		{name: "again-chain", title: "100 steps in a row, into a layout and an archive", make: makeNothing, bases: []string{"shell"}, program: "chain", oursOnly: true, local: true,
			phases: []phase{cold, unchanged, again}, budgets: map[phase]budget{unchanged: {Wall: 20 * time.Millisecond}, again: {Wall: 20 * time.Millisecond}}},
	}
	for i := range more {
		more[i].more = true
	}
	return more
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
