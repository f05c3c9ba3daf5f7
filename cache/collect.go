package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Collector is a [Store] that can be told to become smaller.
type Collector interface {
	// Collect and Usage are as those of [Disk].
	Collect(ctx context.Context, p Policy, areas ...Area) (*Collection, error)
	Usage(ctx context.Context, areas ...Area) (*Usage, error)
}

// Collect removes what the policy says from the records, the blobs and the areas. It may run at any
// time, beside programs that use the store: it takes nothing away that was used since the oldest of
// the living leases began, or since the call, and an entry that is found while it is being removed is
// either kept or seen missing. Killed at any instant it leaves a good store. What dead processes left
// unfinished goes as well, and is not counted.
//
// The Collection says what was done even if there is an error: the context's, or one that says what
// could not be removed and why. An impossible policy is an error before anything is done.
func (d *Disk) Collect(ctx context.Context, p Policy, areas ...Area) (*Collection, error) {
	c := &collector{disk: d, policy: p, start: d.clock(), result: &Collection{}}
	known := []Kind{KindRecord, KindBlob}
	for _, a := range areas {
		if slices.Contains(known, a.Kind()) {
			return c.result, fmt.Errorf("cache: two areas of the kind %q; give each once", a.Kind())
		}
		known = append(known, a.Kind())
	}
	if err := p.check(known); err != nil {
		return c.result, err
	}
	if err := ctx.Err(); err != nil || !p.removes() {
		return c.result, err
	}
	if d.isClosed() {
		return c.result, d.wrap("collect", fs.ErrClosed)
	}
	lock, err := d.lockCollect(ctx, p)
	if err != nil {
		return c.result, err
	}
	if lock != nil {
		defer lock.Close()
	}
	c.readOnly = lock == nil
	if !p.DryRun {
		sweep(d.dir)
	}
	err = c.open(ctx, areas)
	if err == nil {
		err = c.run(ctx)
	}
	c.result.Kept = c.kept()
	if err == nil {
		c.result.Short = max(0, c.need, p.excess(c.result.Kept))
	}
	c.close()
	return c.result, d.wrapCollect(errors.Join(err, c.failure()))
}

func (d *Disk) wrapCollect(err error) error {
	if ended(err) {
		return err
	}
	return d.wrap("collect", err)
}

// collector is one collection.
type collector struct {
	disk    *Disk
	policy  Policy
	start   time.Time
	limit   time.Time // what was used at or after it stays
	need    int64     // bytes that MinFree still wants
	sources []source
	books   *books // nil without a journal

	youngest int64 // when the last of the living leases began
	readOnly bool  // a dry run that may not write to the journal
	result   *Collection

	failed   int
	firstErr error
}

// source gives the entries of one area, the one that was unused for the longest time first.
type source interface {
	area() Area
	// size is what its entries occupy.
	size() int64
	// peek returns the oldest entry that is left; ok is false when there is none.
	peek(ctx context.Context) (e Entry, ok bool, err error)
	// pop takes that entry away from what is left, and keep says that it has not gone after all: it is
	// counted again, and not returned again.
	pop() line
	keep(line)
}

func (c *collector) open(ctx context.Context, areas []Area) error {
	oldest, youngest, err := livingLeases(c.disk.dir)
	if err != nil {
		return err
	}
	c.youngest = youngest
	c.limit = c.start
	if lease := time.Unix(0, oldest); lease.Before(c.start) {
		c.limit = lease
		c.result.Lease = lease
	}
	if c.policy.MinFree > 0 {
		free, err := freeSpace(c.disk.dir)
		if err != nil {
			return err
		}
		c.need = max(0, c.policy.MinFree-free)
	}
	for _, a := range c.disk.ownAreas() {
		areas = append(areas[:len(areas):len(areas)], a)
	}
	areas = slices.DeleteFunc(areas, func(a Area) bool { return !c.policy.covers(a.Kind()) })
	if err := c.openBooks(ctx, areas); err != nil {
		return err
	}
	for _, a := range areas {
		s, err := c.source(ctx, a)
		if err != nil {
			return err
		}
		c.sources = append(c.sources, s)
	}
	return nil
}

// openBooks reads the journal, as far as there is one. Ledgers that are missing, or were made long ago,
// are made by a scan.
func (c *collector) openBooks(ctx context.Context, areas []Area) error {
	if !journaled || c.readOnly {
		return nil
	}
	b := openBooks(filepath.Join(c.disk.dir, journalDir))
	now := c.start.UnixNano()
	var scans []Area
	for _, a := range areas {
		l := b.kinds[a.Kind()]
		if _, ok := a.(Stater); ok && (l == nil || now-l.scanned > int64(scanAgain) || l.scanned > now) {
			scans = append(scans, a)
		}
	}
	err := b.read(ctx, scans, c.start, !c.policy.DryRun, nil)
	if err == nil {
		c.books = b
	}
	return err
}

// source makes the source of an area.
func (c *collector) source(ctx context.Context, a Area) (source, error) {
	of, ok := a.(Stater)
	if !ok || c.books == nil {
		return scanned(ctx, a)
	}
	now := c.start.UnixNano()
	return &ledgerSource{
		of: of, books: c.books, ledger: c.books.kinds[a.Kind()], period: -1,
		dry: c.policy.DryRun, last: now, settled: max(now, c.youngest),
	}, nil
}

// close ends the reading of the books and writes down what has changed. What cannot be written is found
// out again by the next collector.
func (c *collector) close() {
	for _, s := range c.sources {
		if s, ok := s.(*ledgerSource); ok {
			s.finish()
		}
	}
	if c.books == nil || c.policy.DryRun {
		return
	}
	_ = c.books.save()
}

// atATime is how many entries are decided on before they are removed, side by side: a file system takes
// long to remove what it has to look for on the disk.
const (
	atATime        = 64
	removeParallel = 8
)

// decision is an entry that is to be removed.
type decision struct {
	Removal
	from source
	line line // of the source

	freed int64
	err   error
}

// run removes, the oldest first, until nothing more has to go.
func (c *collector) run(ctx context.Context) error {
	for {
		batch, err := c.decide(ctx)
		if err == nil && !c.policy.DryRun {
			remove(ctx, batch)
		}
		for _, r := range batch {
			if err != nil {
				r.err = err
			}
			c.note(r)
		}
		if err != nil || len(batch) == 0 {
			return err
		}
	}
}

// decide returns what has to go next, as if it were gone already.
func (c *collector) decide(ctx context.Context) (batch []*decision, err error) {
	for len(batch) < atATime {
		s, e, err := c.oldest(ctx)
		if err != nil {
			return batch, err
		}
		if s == nil || !e.Used.Before(c.limit) {
			break
		}
		reason := c.reason(e)
		if reason == 0 {
			break
		}
		batch = append(batch, &decision{Removal: Removal{Entry: e, Reason: reason}, from: s, line: s.pop()})
		c.need -= e.Bytes
	}
	return batch, ctx.Err()
}

// remove removes entries: records and blobs side by side, those of other packages one by one.
func remove(ctx context.Context, batch []*decision) {
	var wg sync.WaitGroup
	for w := range removeParallel {
		wg.Go(func() {
			for i, r := range batch {
				_, own := r.from.area().(*hashed)
				if own && i%removeParallel != w || !own && w > 0 {
					continue
				}
				if r.err = ctx.Err(); r.err == nil {
					r.freed, r.err = r.from.area().Remove(ctx, r.ID, r.Used)
				}
			}
		})
	}
	wg.Wait()
}

// oldest returns the entry to look at next, and where it is from; nil when there are no more.
func (c *collector) oldest(ctx context.Context) (source, Entry, error) {
	var from source
	var oldest Entry
	for _, s := range c.sources {
		e, ok, err := s.peek(ctx)
		if err != nil {
			return nil, e, err
		}
		if ok && (from == nil || compareUse(e, oldest) < 0) {
			from, oldest = s, e
		}
	}
	return from, oldest, nil
}

// compareUse orders entries as they are removed.
func compareUse(a, b Entry) int {
	return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
}

// reason says why the oldest entry must go, 0 if it may stay, and so everything that is younger.
func (c *collector) reason(e Entry) Reason {
	switch p := c.policy; {
	case p.All:
		return ReasonAll
	case p.MaxAge > 0 && c.start.Sub(e.Used) > p.MaxAge:
		return ReasonAge
	case p.excess(c.kept()) > 0:
		return ReasonBytes
	case c.need > 0:
		return ReasonFree
	}
	return 0
}

// excess is by how much a size is above MaxBytes.
func (p Policy) excess(size int64) int64 {
	if p.MaxBytes == 0 {
		return 0
	}
	return max(0, size-p.MaxBytes)
}

// note takes down what became of a decision.
func (c *collector) note(r *decision) {
	if !c.policy.DryRun {
		c.need += r.Bytes - r.freed
		r.Bytes = r.freed
	}
	switch {
	case r.err == nil:
		c.result.Removed = append(c.result.Removed, r.Removal)
		c.result.Freed += r.Bytes
	case errors.Is(r.err, ErrNotFound):
	case ended(r.err):
		r.from.keep(r.line)
	default:
		// What cannot be removed now is not the first thing to be tried the next time.
		r.line.used = max(r.line.used, c.start.UnixNano())
		r.from.keep(r.line)
		if !errors.Is(r.err, ErrInUse) {
			if c.failed++; c.failed == 1 {
				c.firstErr = fmt.Errorf("%s %s: %w", r.Kind, r.ID, r.err)
			}
		}
	}
}

// ended reports whether an error is that of a context.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// kept is what is left.
func (c *collector) kept() (bytes int64) {
	for _, s := range c.sources {
		bytes += s.size()
	}
	return max(0, bytes)
}

// failure is the error for what could not be removed.
func (c *collector) failure() error {
	if c.failed == 0 {
		return nil
	}
	return fmt.Errorf("%d entries could not be removed, the first is %w", c.failed, c.firstErr)
}
