package cache

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"time"
)

// ledgerSource gives the entries of a [Stater] by the books: line for line, the oldest first, as the
// disk has it now. What was used since its line was written moves to a later hour; it is looked at once
// for each time that it was used, at the most.
type ledgerSource struct {
	of     Stater
	books  *books
	ledger *ledger
	dry    bool

	present

	period  int64 // that is being read, -1 before the first; nothing older is left
	cursors []*cursor
	moved   lineHeap // lines of this hour that are in no run
	kept    []line   // looked at, and left in the store

	at    *cursor // of the line of entry; nil if it is in moved
	entry Entry
	found bool // entry is the answer of peek
	line  line
	done  line // the last one that went
}

func (s *ledgerSource) area() Area  { return s.of }
func (s *ledgerSource) size() int64 { return s.ledger.bytes }

func (s *ledgerSource) peek(ctx context.Context) (Entry, bool, error) {
	for !s.found {
		if err := ctx.Err(); err != nil {
			return Entry{}, false, err
		}
		if !s.next() {
			return Entry{}, false, nil
		}
		s.look(ctx)
	}
	return s.entry, true, nil
}

// next finds the oldest line.
func (s *ledgerSource) next() bool {
	for {
		s.at, s.line = nil, line{used: math.MaxInt64}
		have := len(s.moved) > 0
		if have {
			s.line = s.moved[0]
		}
		for _, c := range s.cursors {
			if ok := c.peek(); ok && (!have || compareLines(c.line, s.line) < 0) {
				s.at, s.line, have = c, c.line, true
			}
		}
		if have {
			return true
		}
		if !s.open() {
			return false
		}
	}
}

// open begins the next hour.
func (s *ledgerSource) open() bool {
	s.close()
	p, ok := s.ledger.after(s.period)
	if !ok {
		return false
	}
	s.period = p
	for _, r := range s.ledger.runs[p] {
		s.cursors = append(s.cursors, s.books.cursor(s.ledger, r))
	}
	s.moved = s.ledger.fresh[p]
	delete(s.ledger.fresh, p)
	heap.Init(&s.moved)
	return true
}

// look sees what became of the entry of the line.
func (s *ledgerSource) look(ctx context.Context) {
	e, err := s.of.Stat(ctx, s.line.id)
	e.Kind = s.of.Kind()
	used := e.Used.UnixNano()
	if err == nil && !s.dry {
		s.settle(s.of, e)
	}
	used = min(used, s.last)
	switch {
	case compareLines(s.line, s.done) == 0:
		s.drop()
	case errors.Is(err, ErrNotFound):
		if n := s.drop(); n.used > s.last-int64(namedWithin) {
			n.bytes = 0
			s.keep(n)
		}
	case err != nil:
		n := s.drop()
		n.used = max(n.used, s.last)
		s.keep(n)
	case used > s.line.used:
		n := line{used, e.Bytes, s.line.id}
		s.drop()
		s.add(n)
	default:
		s.entry, s.found = e, true
	}
}

// add notes an entry that was used later than its line said.
func (s *ledgerSource) add(n line) {
	if periodOf(n.used) != s.period {
		s.ledger.add(n)
		return
	}
	heap.Push(&s.moved, n)
	s.ledger.bytes += n.bytes
}

func (s *ledgerSource) pop() line {
	s.found = false
	s.done = s.line
	return s.drop()
}

// drop takes the line away.
func (s *ledgerSource) drop() line {
	s.ledger.bytes -= s.line.bytes
	if s.at != nil {
		s.at.advance()
	} else {
		heap.Pop(&s.moved)
	}
	return s.line
}

// keep puts a line back that was dropped. It comes up again in the next collection.
func (s *ledgerSource) keep(n line) {
	s.ledger.bytes += n.bytes
	s.kept = append(s.kept, n)
}

// close ends the reading of an hour: what is left of it is in the ledger.
func (s *ledgerSource) close() {
	for _, c := range s.cursors {
		c.close()
	}
	s.cursors = nil
	if len(s.moved) > 0 {
		s.ledger.fresh[s.period] = append(s.ledger.fresh[s.period], s.moved...)
		s.moved = nil
	}
}

// finish makes the ledger what it is after the collection.
func (s *ledgerSource) finish() {
	s.close()
	for _, n := range s.kept {
		s.ledger.bytes -= n.bytes // add counts it again
		s.ledger.add(n)
	}
}

// present is what counts as now.
type present struct {
	last     int64 // when the collection began; a later use counts as one at that time
	youngest int64 // when the last of the living leases began, by a clock that may have been ahead
}

// clockSlack is how far in the future a stamp may be before the clock is taken to have been wrong.
const clockSlack = time.Hour

// settle sets a stamp right that is too far in the future. Who uses the entry under a lease that begins just now may have seen it and have left it
// as it is, so it stays ahead of that.
func (p present) settle(a Area, e Entry) {
	to := max(p.last, p.youngest) + int64(clockSlack)
	if of, ok := a.(Settler); ok && e.Used.UnixNano() > to {
		of.Settle(e.ID, time.Unix(0, to))
	}
}

// lineHeap is a heap of lines, the oldest on top.
type lineHeap []line

func (h lineHeap) Len() int           { return len(h) }
func (h lineHeap) Less(i, j int) bool { return compareLines(h[i], h[j]) < 0 }
func (h lineHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lineHeap) Push(x any)        { *h = append(*h, x.(line)) }
func (h *lineHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
