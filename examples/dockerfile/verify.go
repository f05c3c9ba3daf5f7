package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/report"
)

// verifyBuild builds the target into the cache, and then each of its steps once more, to compare. What it finds is listed on the standard
// error, and the first of it is the error: no output is written then. The build that follows finds everything in the cache.
func (f *flags) verifyBuild(ctx context.Context, target stage.Stage, options *stagewright.Options, std streams) error {
	o := *options
	o.Sinks = nil
	run := func(do func() error) error {
		progress, err := report.New(f.progress, std.err)
		if err != nil {
			return err
		}
		o.Progress = progress.Event
		return errors.Join(do(), progress.Close())
	}
	if err := run(func() error {
		res, err := stagewright.Build(ctx, target, o)
		if err != nil {
			return err
		}
		return res.Close()
	}); err != nil {
		return err
	}
	options.NoCache, options.NoCacheStages = false, nil
	var v *stage.Verification
	if err := run(func() (err error) {
		v, err = stagewright.Verify(ctx, target, o)
		return err
	}); err != nil {
		return err
	}
	for _, m := range v.Mismatches {
		fmt.Fprintf(std.err, "%s: %s: %s\n", m.Step.Pos(), m.Step.Text, m)
	}
	fmt.Fprintln(std.err, v)
	return v.Err()
}

// errDamaged ends "dockerfile verify" when it has found something.
var errDamaged = errors.New("the cache had damaged entries; what was removed is made again by the next build")

// verifyCache reads the whole cache and compares it with its checksums.
func verifyCache(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("verify", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	dir := set.String("cache-dir", "", "the cache in `DIR` (default: the user's cache directory)")
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			set.SetOutput(stderr)
			fmt.Fprint(stderr, "usage: dockerfile verify [flags]\n\n"+
				"Records, blobs and directories of layers are read; several layers that were made one directory (spans) are compared when next used.\n"+
				"Cache mounts and logs are not read, since nothing tells what they should be, nor are memos and git mirrors, whose checksums are compared at each use.\n\n")
			set.PrintDefaults()
		}
		return flagError(set, err)
	}
	if set.NArg() > 0 {
		return fmt.Errorf("verify takes no argument, and got %q", set.Arg(0))
	}
	found, err := stagewright.VerifyCache(ctx, stagewright.Options{CacheDir: *dir})
	if err != nil {
		return err
	}
	for _, damage := range found.Damaged {
		fmt.Fprintln(stdout, damage)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 3, ' ', 0)
	fmt.Fprint(w, "KIND\tREAD\tSIZE\tWHEN NEXT USED\n")
	for _, k := range found.Kinds {
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\n", k.Kind, k.Entries-k.Later, bytesText(k.Bytes), k.Later)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var unread []string
	for _, k := range found.Unread {
		unread = append(unread, fmt.Sprintf("%d %s (%s)", k.Entries, k.Kind, bytesText(k.Bytes)))
	}
	if len(unread) > 0 {
		fmt.Fprintf(stdout, "\nNot read, see --help:\t%s\n", strings.Join(unread, ", "))
	}
	if len(found.Damaged) > 0 {
		return errDamaged
	}
	return nil
}
