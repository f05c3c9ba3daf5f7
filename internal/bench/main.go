package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

type options struct {
	runs          int
	only          string
	list, alone   bool
	dir, jsonFile string
	quiet         bool
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
	flag.IntVar(&o.runs, "n", 5, "pairs of runs")
	flag.StringVar(&o.only, "only", "", "run only the workloads whose name matches this regular expression")
	flag.BoolVar(&o.list, "list", false, "list the workloads and do nothing")
	flag.BoolVar(&o.alone, "alone", false, "run stagewright only")
	flag.StringVar(&o.dir, "dir", "", "work directory, kept; the default is a temporary one")
	flag.StringVar(&o.jsonFile, "json", "", "file for every single figure, as JSON")
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

// run runs the workloads that are wanted, and returns how many promises were not kept.
func run(ctx context.Context, o options) (missed int, err error) {
	wanted, err := regexp.Compile(o.only)
	if err != nil {
		return 0, err
	}
	if o.list {
		for _, w := range workloads() {
			fmt.Printf("%-16s %s\n", w.name, w.title)
		}
		return 0, nil
	}
	var todo []workload
	for _, w := range workloads() {
		if wanted.MatchString(w.name) {
			todo = append(todo, w)
		}
	}
	switch {
	case len(todo) == 0:
		return 0, fmt.Errorf("no workload matches %q; -list names them", o.only)
	case o.runs < 1:
		return 0, fmt.Errorf("-n %d; want at least 1", o.runs)
	case os.Geteuid() != 0 && !o.alone:
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
	b, err := newBench(ctx, o)
	if err != nil {
		return 0, err
	}
	defer b.close()
	found := &report{Machine: thisMachine(o.dir)}
	for _, w := range todo {
		rows, err := b.run(ctx, w, o.runs)
		if err != nil {
			return 0, err
		}
		found.Rows = append(found.Rows, rows...)
	}
	if o.jsonFile != "" {
		f, err := os.Create(o.jsonFile)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		if err := found.json(f); err != nil {
			return 0, err
		}
	}
	return found.table(os.Stdout), nil
}

// newBench compiles and starts what all workloads share.
func newBench(ctx context.Context, o options) (*bench, error) {
	b := &bench{dir: o.dir, close: func() {}, tell: func(format string, args ...any) {
		if !o.quiet {
			fmt.Fprintf(os.Stderr, format+"\n", args...)
		}
	}}
	own := func(name string) string { return filepath.Join(o.dir, name) }
	for _, dir := range []string{"ours", "bases", "buildkit"} {
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
	theirs, err := newBuildKit(ctx, own("buildkit"))
	if err != nil {
		return nil, err
	}
	b.theirs, b.registry = theirs, theirs.daemon.Registry()
	b.close = theirs.daemon.Stop
	return b, nil
}
