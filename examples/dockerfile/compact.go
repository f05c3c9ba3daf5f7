package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/remote"
	"github.com/stagewright/stagewright/image/registry"
)

// leastAge is the least --max-age: what a cache has is written again once a day, so that less would leave out what daily builds use.
const leastAge = 48 * time.Hour

// compact makes one manifest of the many that builds have written to a cache in a registry or an OCI layout, and leaves out what is old.
func compact(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("compact", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	var age time.Duration
	set.Func("max-age", "leave out what no build has exported for `DURATION`, 48h or more, such as 720h or 30d (default: nothing is left out)", func(text string) (err error) {
		if age, err = parseDuration(text); err == nil && age < leastAge {
			err = fmt.Errorf("%s is less than %v: what daily builds use is written again once a day only", text, leastAge)
		}
		return err
	})
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			set.SetOutput(stderr)
			fmt.Fprint(stderr, "usage: dockerfile compact [flags] CACHE\n\nCACHE is written as for --cache-from: a name in a registry, type=registry,ref=NAME or type=oci-layout,src=DIR.\n"+
				"Builds may go on meanwhile. Afterwards the garbage collection of the registry frees the room.\n\n")
			set.PrintDefaults()
		}
		return flagError(set, err)
	}
	if set.NArg() != 1 {
		return fmt.Errorf("compact takes one cache, such as registry.example.com/team/cache:main, after its flags, and got %q", set.Args())
	}
	text := set.Arg(0)
	done, err := compactCache(ctx, text, remote.CompactOptions{MaxAge: age}, stderr)
	if err != nil {
		return fmt.Errorf("compact %s: %w", text, err)
	}
	fmt.Fprintf(stdout, "manifests made one:\t%d\nmanifests deleted:\t%d\nrecords and blobs left out:\t%d\n", done.Merged, done.Deleted, done.Dropped)
	if done.Left > 0 {
		fmt.Fprintf(stderr, "%d manifests that are not needed stay, since the registry deletes nothing\n", done.Left)
	}
	if done.Unread > 0 {
		return fmt.Errorf("compact %s: %d manifests could not be read, and stay as they are", text, done.Unread)
	}
	return nil
}

func compactCache(ctx context.Context, text string, o remote.CompactOptions, warn io.Writer) (done remote.Compaction, err error) {
	c := &caches{client: registry.NewClient(registry.Options{}), warn: warn, stores: map[string]cache.Store{}}
	m := cacheFields(text)
	if err := unknown("fields", m, "type", "ref", "src", "name"); err != nil {
		return done, err
	}
	if m["type"] == "local" {
		return done, errors.New("a directory of type=local has no manifests; \"dockerfile prune --cache-dir\" makes it smaller")
	}
	if _, err := os.Stat(m["src"]); m["type"] == "oci-layout" && err != nil && m["src"] != "" { // it would be made
		return done, err
	}
	store, err := c.open(m, m["src"], "src")
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, c.closeAll()) }()
	compactor, ok := store.(*remote.Store)
	if !ok {
		return done, fmt.Errorf("%T cannot be compacted", store)
	}
	if done, err = compactor.Compact(ctx, o); err == nil && compactor.Stats().Manifests == 0 && done == (remote.Compaction{}) {
		fmt.Fprintln(warn, "there is nothing in that cache; is its name right?")
	}
	return done, err
}
