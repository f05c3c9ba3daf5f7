package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage/local"
)

// commands are what the first argument can be instead of a flag or a context. A directory of that name is a context as "./du".
var commands = map[string]func(context.Context, []string, io.Writer, io.Writer) error{
	"du": du, "prune": prune, "compact": compact, "verify": verifyCache,
}

// cacheFlags are those of du and prune.
type cacheFlags struct {
	*flag.FlagSet
	cacheDir string
	verbose  bool
	help     func()
	policy   cache.Policy
}

func newCacheFlags(name, usage string, stderr io.Writer) *cacheFlags {
	f := &cacheFlags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError)}
	f.SetOutput(io.Discard) // of errors, which say less than ours
	f.Usage = func() {}     // also called after an error
	f.help = func() {
		f.SetOutput(stderr)
		fmt.Fprintf(stderr, "usage: dockerfile %s\n\n", usage)
		f.PrintDefaults()
	}
	f.StringVar(&f.cacheDir, "cache-dir", "", "the cache in `DIR` (default: the user's cache directory)")
	f.Func("filter", "only what was not used for as long as `until=DURATION`, or is of the kind type=KIND; may be repeated", f.filter)
	return f
}

func (f *cacheFlags) parse(args []string) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.help()
		}
		return flagError(f.FlagSet, err)
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s takes no argument, and got %q", f.Name(), f.Arg(0))
	}
	return nil
}

// filter reads a filter of docker buildx prune.
func (f *cacheFlags) filter(text string) error {
	key, value, _ := strings.Cut(text, "=")
	switch key {
	case "until":
		return f.age(value)
	case "type":
		kind := cache.Kind(value)
		if value == "exec.cachemount" { // as BuildKit calls them
			kind = local.KindMount
		}
		f.policy.Kinds = append(f.policy.Kinds, kind)
		return nil
	}
	return fmt.Errorf("unknown filter %q; want until=DURATION or type=KIND", key)
}

func (f *cacheFlags) age(text string) error {
	d, err := parseDuration(text)
	f.policy.MaxAge = d
	return err
}

// du tells what the cache takes on the disk.
func du(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := newCacheFlags("du", "du [flags]", stderr)
	f.BoolVar(&f.verbose, "verbose", false, "list what can be removed, the longest unused first")
	if err := f.parse(args); err != nil {
		return err
	}
	o := stagewright.Options{CacheDir: f.cacheDir}
	// A look at what can be removed also finds a kind that there is not.
	p := f.policy
	p.DryRun, p.All = true, p.MaxAge == 0
	free, err := stagewright.Prune(ctx, o, p)
	if err != nil {
		return err
	}
	if f.verbose {
		if err := writeRemovals(stdout, free.Removed, false); err != nil {
			return err
		}
		fmt.Fprintln(stdout)
	}
	usage, err := stagewright.Usage(ctx, o)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 3, ' ', 0)
	fmt.Fprint(w, "KIND\tENTRIES\tSIZE\tLAST USED\n")
	for _, k := range usage.Kinds {
		if k.Entries > 0 && (f.policy.Kinds == nil || slices.Contains(f.policy.Kinds, k.Kind)) {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", k.Kind, k.Entries, bytesText(k.Bytes), agoText(k.Newest))
		}
	}
	if f.policy.Kinds == nil {
		fmt.Fprintf(w, "directories and the like\t\t%s\n", bytesText(usage.Other))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nReclaimable:\t%s\n", bytesText(free.Freed))
	if usage.Free >= 0 {
		fmt.Fprintf(stdout, "Free on disk:\t%s\n", bytesText(usage.Free))
	}
	_, err = fmt.Fprintf(stdout, "Total:\t%s\n", bytesText(usage.Total))
	return err
}

// prune makes the cache smaller.
func prune(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := newCacheFlags("prune", "prune --all | LIMIT… [flags]\n\nWhat builds use that are under way stays.", stderr)
	var force bool
	for _, name := range []string{"a", "all"} {
		f.BoolVar(&f.policy.All, name, false, "remove everything")
	}
	for _, name := range []string{"f", "force"} {
		f.BoolVar(&force, name, false, "ask nothing, which is so anyway; for those used to docker")
	}
	limit := func(p *int64, usage string, names ...string) {
		for _, name := range names {
			f.Func(name, usage, func(text string) (err error) { *p, err = parseBytes(text); return err })
		}
	}
	limit(&f.policy.MaxBytes, "leave at most `SIZE`, such as 10GB, the longest unused goes first", "max-used-space", "keep-storage")
	limit(&f.policy.MinFree, "until `SIZE` is free on the disk, the longest unused goes first", "min-free-space")
	f.Func("keep-duration", "leave what was used within `DURATION`, such as 48h or 30d; the same as --filter until=DURATION", f.age)
	f.BoolVar(&f.policy.DryRun, "dry-run", false, "remove nothing, and tell what would be removed")
	f.BoolVar(&f.verbose, "verbose", false, "the whole names")
	if err := f.parse(args); err != nil {
		return err
	}
	if p := f.policy; !p.All && p.MaxBytes == 0 && p.MinFree == 0 && p.MaxAge == 0 {
		return errors.New("prune: what should go? give --all, or a limit: --max-used-space, --min-free-space, --keep-duration or --filter until=DURATION")
	}
	if f.policy.All && f.policy.MaxAge > 0 { // as docker has it: all that is old enough
		f.policy.All = false
	}
	done, err := stagewright.Prune(ctx, stagewright.Options{CacheDir: f.cacheDir}, f.policy)
	if done == nil || err != nil && len(done.Removed) == 0 {
		return err
	}
	if len(done.Removed) > 0 {
		if werr := writeRemovals(stdout, done.Removed, f.verbose); werr != nil {
			return errors.Join(err, werr)
		}
		fmt.Fprintln(stdout)
	}
	if done.Short > 0 {
		fmt.Fprintf(stderr, "%s more should go, and are used by builds that are under way\n", bytesText(done.Short))
	}
	what := "Removed"
	if f.policy.DryRun {
		what = "Would be removed"
	}
	fmt.Fprintf(stdout, "%s:\t%d entries\nTotal:\t%s\n", what, len(done.Removed), bytesText(done.Freed))
	return err
}

// writeRemovals lists entries, and why they go.
func writeRemovals(out io.Writer, list []cache.Removal, whole bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprint(w, "KIND\tWHAT\tSIZE\tLAST USED\tREASON\n")
	for _, r := range list {
		what := r.ID
		switch {
		case r.Detail != "":
			what = strconv.QuoteToGraphic(r.Detail)
		case len(what) > 12 && !whole:
			what = what[:12]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\n", r.Kind, what, bytesText(r.Bytes), agoText(r.Used), r.Reason)
	}
	return w.Flush()
}

// parseBytes reads a size as docker does: with a unit of 1024 bytes, 1024 of them and so on.
func parseBytes(text string) (int64, error) {
	number := strings.TrimRight(strings.ToLower(text), "bikmgtp ")
	unit := strings.TrimSpace(strings.ToLower(text)[len(number):])
	shift, ok := map[string]int{
		"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20, "g": 30, "gb": 30, "gib": 30, "t": 40, "tb": 40, "tib": 40, "p": 50, "pb": 50, "pib": 50,
	}[unit]
	value, err := strconv.ParseFloat(number, 64)
	bytes := math.Ldexp(value, shift)
	switch {
	case err != nil || !ok || !(bytes >= 0):
		return 0, fmt.Errorf("%q is no size; want a number with a unit, such as 512MB or 10GB", text)
	case bytes > math.MaxInt64/2:
		return 0, fmt.Errorf("%q is more than any disk has", text)
	case int64(bytes) == 0:
		return 0, fmt.Errorf("%q leaves nothing; for that there is --all", text)
	}
	return int64(bytes), nil
}

// parseDuration reads a duration of Go, or a number of days.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		if n > 365_000 {
			err = strconv.ErrRange
		}
		d = time.Duration(n * float64(24*time.Hour))
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no duration; want hours or days, such as 48h or 30d", text)
	}
	return d, nil
}

// bytesText spells a size for people.
func bytesText(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "B" || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, unit)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// agoText spells how long ago something was, for people.
func agoText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := time.Since(t)
	for _, u := range []struct {
		name string
		of   time.Duration
	}{{"days", 24 * time.Hour}, {"hours", time.Hour}, {"minutes", time.Minute}} {
		if d >= 2*u.of {
			return fmt.Sprintf("%d %s ago", d/u.of, u.name)
		}
	}
	return "just now"
}
