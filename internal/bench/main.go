package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

type options struct {
	runs, buildah  int
	only           string
	all, list      bool
	alone, noCount bool
	dir, jsonFile  string
	from, readme   string
	scaling, quiet bool
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == childWord {
		if err := measuredChild(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.runs, "n", 5, "pairs of runs; with 5 or more, a workload that is held to the limit has the 7 pairs that it needs")
	flag.IntVar(&o.buildah, "buildah", 1, "runs of Buildah, 0 for none")
	flag.StringVar(&o.only, "only", "", "run only the workloads whose name matches this regular expression")
	flag.BoolVar(&o.all, "all", false, "run the workloads that the issue's table has not got, too")
	flag.BoolVar(&o.list, "list", false, "list the workloads and do nothing")
	flag.BoolVar(&o.alone, "alone", false, "run stagewright, and the limit, only")
	flag.BoolVar(&o.noCount, "nocount", false, "leave out the run that counts requests, bytes and opened files")
	flag.StringVar(&o.dir, "dir", "", "work directory, kept; the default is a temporary one")
	flag.StringVar(&o.jsonFile, "json", "", "file for every single figure, as JSON, written again after each workload")
	flag.StringVar(&o.from, "from", "", "print the tables of such files, separated by commas, and do nothing")
	flag.StringVar(&o.readme, "readme", "", "put the tables into this Markdown file, too, between its two marks")
	flag.BoolVar(&o.scaling, "scaling", false, "instead of all this, print how time and memory grow with the size of the work")
	flag.BoolVar(&o.quiet, "q", false, "do not tell what happens meanwhile")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	missed, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if missed > 0 {
		fmt.Printf("\n%d missed\n", missed)
		os.Exit(1)
	}
}

// run runs what is wanted, and returns how many promises were not kept.
func run(ctx context.Context, o options) (missed int, err error) {
	todo, err := o.workloads()
	switch {
	case err != nil:
		return 0, err
	case o.from != "":
		found, err := readReports(strings.Split(o.from, ","))
		if err != nil {
			return 0, err
		}
		return o.publish(found)
	case o.list:
		for _, w := range workloads() {
			fmt.Printf("%-18s %s\n", w.name, w.title)
		}
		return 0, nil
	case o.runs < 1:
		return 0, fmt.Errorf("-n %d; want at least 1", o.runs)
	case os.Geteuid() != 0 && !o.alone && !o.scaling:
		return 0, errors.New("BuildKit's daemon needs root; -alone runs stagewright without it")
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "stagewright-bench"); err != nil {
			return 0, err
		}
		defer os.RemoveAll(o.dir)
	} else if o.dir, err = filepath.Abs(o.dir); err != nil {
		return 0, err
	}
	if o.scaling {
		return scaling(ctx, o.dir, os.Stdout)
	}
	return compare(ctx, o, todo)
}

// workloads are those that are wanted.
func (o options) workloads() (todo []workload, err error) {
	wanted, err := regexp.Compile(o.only)
	if err != nil {
		return nil, err
	}
	for _, w := range workloads() {
		if wanted.MatchString(w.name) && (!w.more || o.all || o.only != "") {
			todo = append(todo, w)
		}
	}
	if len(todo) == 0 {
		return nil, fmt.Errorf("no workload matches %q; -list names them", o.only)
	}
	return todo, nil
}

// compare measures the workloads and prints the tables, also those of the first ones when a later one fails.
func compare(ctx context.Context, o options, todo []workload) (missed int, err error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return 0, err
	}
	defer b.close()
	found := &report{Machine: thisMachine(o.dir)}
	if b.buildah != nil {
		found.Machine.Buildah = b.buildah.version + " (" + b.buildah.driver + ")"
	}
	for _, w := range todo {
		rows, failed := b.run(ctx, w)
		found.Rows = append(found.Rows, rows...)
		if o.jsonFile != "" {
			failed = errors.Join(failed, found.save(o.jsonFile))
		}
		if failed != nil {
			err = failed
			break
		}
	}
	missed, failed := o.publish(found)
	return missed, errors.Join(err, failed)
}

// publish prints the tables, and puts them where -readme says.
func (o options) publish(found *report) (missed int, err error) {
	var text bytes.Buffer
	missed = found.table(&text)
	if _, err := os.Stdout.Write(text.Bytes()); err != nil {
		return missed, err
	}
	if o.readme == "" {
		return missed, nil
	}
	old, err := os.ReadFile(o.readme)
	if err != nil {
		return missed, err
	}
	fresh, err := between(old, text.Bytes())
	if err != nil {
		return missed, fmt.Errorf("%s: %w", o.readme, err)
	}
	return missed, os.WriteFile(o.readme, fresh, 0o644)
}

// The marks between which a Markdown file has the tables.
const beginMark, endMark = "<!-- figures begin -->\n", "<!-- figures end -->\n"

// between replaces what stands between the marks.
func between(file, text []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(file, []byte(beginMark))
	_, after, found := bytes.Cut(rest, []byte(endMark))
	if !ok || !found {
		return nil, fmt.Errorf("the marks %q and %q are not there", beginMark, endMark)
	}
	return slices.Concat(before, []byte(beginMark+"\n"), bytes.TrimSpace(text), []byte("\n\n"+endMark), after), nil
}

// newBench compiles and starts what all workloads share.
func newBench(ctx context.Context, o options) (*bench, error) {
	b := &bench{dir: o.dir, rounds: plan{o.runs, min(o.buildah, o.runs), !o.noCount}, close: func() {}, tell: func(format string, args ...any) {
		if !o.quiet {
			fmt.Fprintf(os.Stderr, format+"\n", args...)
		}
	}}
	own := func(name string) string { return filepath.Join(o.dir, name) }
	for _, dir := range []string{"ours", "bases", "buildkit", "buildah"} {
		if err := os.MkdirAll(own(dir), 0o755); err != nil {
			return nil, err
		}
	}
	var err error
	if b.bases, err = newBases(own("bases")); err != nil {
		return nil, err
	}
	if b.ours, err = newOurs(ctx, own("ours")); err != nil {
		return nil, err
	}
	b.limit = &limit{b.ours}
	if o.alone {
		b.registry, err = freeAddress()
		return b, err
	}
	if b.rounds.buildah > 0 {
		if b.buildah, err = newBuildah(ctx, own("buildah")); err != nil {
			b.tell("without Buildah: %v", err)
		}
	}
	if b.theirs, err = newBuildKit(ctx, own("buildkit")); err != nil {
		return nil, err
	}
	b.registry, b.close = b.theirs.daemon.Registry(), func() {
		b.theirs.daemon.Stop()
		if b.buildah != nil {
			_ = b.buildah.reset(ctx) // its mounts would outlive the directory
		}
	}
	return b, nil
}
