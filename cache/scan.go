package cache

import (
	"context"
	"slices"
	"time"
)

// scanAgain is how old the scan may be on which a ledger stands. Entries that the journal missed, in a
// power cut or on a full disk, are known after that time at the latest.
const scanAgain = 30 * 24 * time.Hour

// namedWithin is how long an entry may take from its line in the log to its name. A line that is so young
// is believed though no entry has been found.
const namedWithin = 10 * time.Minute

// scan is what a ledger knows while all entries of its area are being looked for.
type scan struct {
	since   int64               // what the log says of the time before is not news
	noted   map[string]line     // by the log
	started int64               // of the scan
	seen    map[string]struct{} // by the scan, of those made or used since it started
}

func newScan(now time.Time) *scan {
	return &scan{
		since: now.Add(-namedWithin).UnixNano(), noted: map[string]line{},
		started: now.UnixNano(), seen: map[string]struct{}{},
	}
}

// note takes a line of the log.
func (s *scan) note(n line) {
	if _, ok := s.seen[n.id]; !ok && n.used >= s.since {
		s.noted[n.id] = n
	}
}

// read takes what is new in the logs into the ledgers, and makes those of some areas by looking at all
// that they have, of which each is told to seen. aside lets the log go when its writers have.
func (b *books) read(ctx context.Context, scans []Area, now time.Time, aside bool, seen func(Entry)) error {
	for _, a := range scans {
		b.kinds[a.Kind()] = newLedger(a.Kind())
		b.kinds[a.Kind()].scan = newScan(now)
	}
	if err := b.readLogs(aside); err != nil || len(scans) == 0 {
		return err
	}
	for _, a := range scans {
		if err := b.kinds[a.Kind()].scanArea(ctx, a, seen); err != nil {
			return err
		}
	}
	// What was created meanwhile may have been seen, or not.
	if err := b.readLogs(aside); err != nil {
		return err
	}
	for _, a := range scans {
		b.kinds[a.Kind()].endScan()
	}
	return nil
}

func (l *ledger) scanArea(ctx context.Context, a Area, seen func(Entry)) error {
	return a.Scan(ctx, func(e Entry) error {
		e.Kind = l.kind
		if seen != nil {
			seen(e)
		}
		if !validID(e.ID) {
			return nil
		}
		used := max(0, e.Used.UnixNano())
		delete(l.scan.noted, e.ID)
		if used >= l.scan.started {
			l.scan.seen[e.ID] = struct{}{}
		}
		l.add(line{min(used, l.scan.started), e.Bytes, e.ID})
		return nil
	})
}

// endScan ends a scan.
func (l *ledger) endScan() {
	for _, n := range l.scan.noted {
		l.add(n)
	}
	l.scanned = l.scan.started
	l.scan = nil
}

// list is a source that holds all its entries.
type list struct {
	of      Area
	entries []Entry
	bytes   int64
}

// scanned reads all entries of an area.
func scanned(ctx context.Context, a Area, now present, dry bool) (*list, error) {
	l := &list{of: a}
	err := a.Scan(ctx, func(e Entry) error {
		e.Kind = a.Kind()
		if !dry {
			now.settle(a, e)
		}
		if last := time.Unix(0, now.last); e.Used.After(last) {
			e.Used = last
		}
		l.bytes += e.Bytes
		l.entries = append(l.entries, e)
		return nil
	})
	slices.SortFunc(l.entries, compareUse)
	return l, err
}

func (l *list) area() Area  { return l.of }
func (l *list) size() int64 { return l.bytes }

func (l *list) pop() line {
	n := line{bytes: l.entries[0].Bytes}
	l.entries = l.entries[1:]
	l.bytes -= n.bytes
	return n
}

func (l *list) keep(n line) { l.bytes += n.bytes }

func (l *list) peek(context.Context) (Entry, bool, error) {
	if len(l.entries) == 0 {
		return Entry{}, false, nil
	}
	return l.entries[0], true, nil
}
