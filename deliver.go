package stagewright

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/absent"
	"github.com/stagewright/stagewright/stage"
)

// Deliveries returns what each sink did, in the order of Options.Sinks.
func (r *Result) Deliveries() []image.Delivery { return slices.Clone(r.deliveries) }

// deliver hands the image to all sinks, side by side. A sink that fails does not stop
// the others. What a sink got in a try before, if there was one, it does not get again.
func (r *Result) deliver(ctx context.Context, o Options, before *Result) error {
	r.deliveries = make([]image.Delivery, len(o.Sinks))
	r.delivered = make([]bool, len(o.Sinks))
	same := before.has(r.artifact)
	errs := make([]error, len(o.Sinks))
	panics := make([]any, len(o.Sinks))
	tell := o.Progress
	if tell == nil {
		tell = func(stage.Event) {}
	}
	var all sync.WaitGroup
	for i, sink := range o.Sinks {
		if same && before.delivered[i] {
			r.deliveries[i], r.delivered[i] = before.deliveries[i], true
			continue
		}
		all.Go(func() {
			errs[i] = fmt.Errorf("stagewright: sink %d (%s): it ended its goroutine (runtime.Goexit, as t.FailNow and t.Fatal do); return an error instead", i, image.SinkName(sink))
			defer func() { panics[i] = recover() }()
			r.deliveries[i], errs[i] = deliverTo(ctx, i, sink, r.artifact, tell)
			r.delivered[i] = errs[i] == nil
		})
	}
	all.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p) // as if the sink had been called here
		}
	}
	return errors.Join(errs...)
}

// has reports whether a try before made the same artifact.
func (r *Result) has(a image.Artifact) bool {
	if r == nil || len(r.delivered) == 0 {
		return false
	}
	was, err := r.artifact.Digest()
	if err != nil {
		return false
	}
	is, err := a.Digest()
	return err == nil && was == is
}

func deliverTo(ctx context.Context, i int, sink image.Sink, a image.Artifact, tell func(stage.Event)) (image.Delivery, error) {
	name := image.SinkName(sink)
	start := time.Now()
	tell(stage.SinkStarted{Index: i, Name: name, Time: start})
	d, err := image.Deliver(ctx, sink, a, func(t image.Transfer) {
		tell(stage.SinkProgress{Index: i, Name: name, Transfer: t})
	})
	if d.Sink == "" {
		d.Sink = name
	}
	tell(stage.SinkFinished{Index: i, Delivery: d, Duration: time.Since(start), Err: err})
	return d, ofSink(i, name, err)
}

// ofSink says whose error it is. The sinks of this module begin theirs with their name, those of others may not.
func ofSink(i int, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case strings.HasPrefix(err.Error(), name+": "):
		return fmt.Errorf("stagewright: sink %d: %w", i, err)
	}
	return fmt.Errorf("stagewright: sink %d (%s): %w", i, name, err)
}

// checkSinks finds what is wrong with sinks before anything is built: those that say so themselves, and two that would replace what the
// other writes.
func checkSinks(sinks []image.Sink) error {
	owners := map[string]int{}
	for i, sink := range sinks {
		if absent.Is(sink) {
			return fmt.Errorf("stagewright: Options.Sinks[%d] is nil", i)
		}
		if c, ok := sink.(image.Checker); ok {
			if err := c.Check(); err != nil {
				return ofSink(i, image.SinkName(sink), err)
			}
		}
		replacer, ok := sink.(interface{ Replaces() string })
		if !ok || replacer.Replaces() == "" {
			continue
		}
		path, err := filepath.Abs(replacer.Replaces())
		if err != nil {
			return ofSink(i, image.SinkName(sink), err)
		}
		if first, taken := owners[path]; taken {
			return fmt.Errorf("stagewright: sinks %d (%s) and %d (%s) write the same path, where one would replace the other; give each a path of its own",
				first, image.SinkName(sinks[first]), i, image.SinkName(sink))
		}
		owners[path] = i
	}
	return nil
}
