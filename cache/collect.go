package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
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
	if !filelock.Advisory || c.readOnly {
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
	now := present{c.start.UnixNano(), c.youngest}
	of, ok := a.(Stater)
	if !ok || c.books == nil {
		return scanned(ctx, a, now, c.policy.DryRun)
	}
	return &ledgerSource{of: of, books: c.books, ledger: c.books.kinds[a.Kind()], period: -1, dry: c.policy.DryRun, present: now}, nil
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
