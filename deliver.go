package stagewright

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
)

// Deliveries returns what each sink did, in the order of Options.Sinks.
func (r *Result) Deliveries() []image.Delivery { return slices.Clone(r.deliveries) }

// deliver hands the image to all sinks, side by side. A sink that fails does not stop
// the others.
func (r *Result) deliver(ctx context.Context, o Options) error {
	r.deliveries = make([]image.Delivery, len(o.Sinks))
	errs := make([]error, len(o.Sinks))
	panics := make([]any, len(o.Sinks))
	tell := o.Progress
	if tell == nil {
		tell = func(stage.Event) {}
	}
	var all sync.WaitGroup
	for i, sink := range o.Sinks {
		all.Go(func() {
			defer func() { panics[i] = recover() }()
			r.deliveries[i], errs[i] = deliverTo(ctx, i, sink, r.artifact, tell)
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
	if err != nil {
		err = fmt.Errorf("stagewright: sink %d (%s): %w", i, name, err)
	}
	return d, err
}
