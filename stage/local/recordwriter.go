package local

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// recordsAtOnce is how many records of quick steps are written together, and recordWriters how many lots at a time.
const (
	recordsAtOnce = 64
	recordWriters = 2
)

// recordWriter writes the records of quick steps, beside the build. The zero value is ready.
type recordWriter struct {
	mu      sync.Mutex
	waiting []quickRecord
	taken   map[cache.Key]bool
	ended   bool // after flush: what comes now is written at once
	err     error
	busy    chan struct{}
	group   sync.WaitGroup
}

type quickRecord struct {
	step *stage.Step
	done *quickStep
}

// add takes a record. The error is that of an earlier lot.
func (w *recordWriter) add(ctx context.Context, s *session, step *stage.Step, o *quickStep) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.taken == nil {
		w.taken = map[cache.Key]bool{}
	}
	w.taken[s.recipes[step.ID]] = true
	w.waiting = append(w.waiting, quickRecord{step, o})
	switch {
	case w.ended:
		lot := w.waiting
		w.waiting = nil
		return s.writeRecords(ctx, lot)
	case len(w.waiting) == recordsAtOnce:
		w.start(ctx, s)
	}
	return nil
}

// has reports whether a record of the key was taken: of another step that asks for the same.
func (w *recordWriter) has(key cache.Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.taken[key]
}

// start writes what is waiting. The caller holds mu.
func (w *recordWriter) start(ctx context.Context, s *session) {
	if w.busy == nil {
		w.busy = make(chan struct{}, recordWriters)
	}
	lot := w.waiting
	w.waiting = nil
	ctx = context.WithoutCancel(ctx) // what was made is made
	w.busy <- struct{}{}
	w.group.Go(func() {
		err := s.writeRecords(ctx, lot)
		<-w.busy // before mu, which who waits for it holds
		if err == nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err == nil {
			w.err = err
		}
	})
}

// flush writes what is waiting and returns when all is written.
func (w *recordWriter) flush(ctx context.Context, s *session) error {
	w.mu.Lock()
	if len(w.waiting) > 0 {
		w.start(ctx, s)
	}
	w.ended = true
	w.mu.Unlock()
	w.group.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// wait returns when nobody writes any more: after a build that a panic has ended, others have flushed.
func (w *recordWriter) wait() { w.group.Wait() }

// writeRecords writes the records of steps, all together where the cache can do that.
func (s *session) writeRecords(ctx context.Context, lot []quickRecord) error {
	entries := make([]cache.Record, 0, len(lot))
	for _, r := range lot {
		rec := r.done.record
		if err := s.describeChanges(ctx, &rec, r.done.changes); err != nil {
			return err
		}
		var err error
		if rec.Recipe, err = s.describeRecipe(ctx, r.step); err != nil {
			return err
		}
		data, err := json.Marshal(rec)
		if err != nil {
			return fmt.Errorf("local: record: %w", err)
		}
		entries = append(entries, cache.Record{Key: s.recipes[r.step.ID], Data: data})
	}
	if err := cache.PutAll(ctx, s.opts.Store, entries); err != nil {
		return fmt.Errorf("local: cache: %w", err)
	}
	return nil
}
