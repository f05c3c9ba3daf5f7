package main

import (
	"context"
	"errors"
	"fmt"

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
