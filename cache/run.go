package cache

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"slices"
)

// mergeRun is up to which size a run is written anew together with what came to its hour since, so that
// an hour with many collections does not leave as many runs.
const mergeRun = 64 << 10

// cursor reads a run from its offset on.
type cursor struct {
	ledger *ledger
	run    *run
	file   *os.File // nil when it is lost
	in     *bufio.Reader
	line   line
	len    int64 // of the line in the run; 0 when it is not read yet
}

func (b *books) cursor(l *ledger, r *run) *cursor {
	c := &cursor{ledger: l, run: r}
	f, info, err := openRegular(b.path(journalRuns, r.name))
	switch {
	case err != nil:
		c.damage()
	case info.Size() < r.size:
		f.Close()
		c.damage()
	default:
		c.file = f
		c.in = bufio.NewReaderSize(io.NewSectionReader(f, r.offset, r.size-r.offset), 16<<10)
	}
	return c
}

// damage ends the run. What was in it is found by the next scan.
func (c *cursor) damage() {
	c.close()
	c.run.offset, c.len = c.run.size, 0
	c.ledger.damaged = true
}

// peek reads a line, and is false at the end.
func (c *cursor) peek() bool {
	for c.len == 0 && c.run.offset < c.run.size {
		text, err := c.in.ReadSlice('\n')
		if err != nil {
			c.damage()
			return false
		}
		var ok bool
		c.line, ok = parseLine(bytes.TrimSuffix(text, []byte("\n")))
		c.len = int64(len(text))
		if !ok {
			c.ledger.damaged = true
			c.advance()
		}
	}
	return c.len > 0
}

// advance goes on after the line of peek.
func (c *cursor) advance() {
	c.run.offset += c.len
	c.len = 0
}

func (c *cursor) close() {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}

// fold writes the fresh lines of an hour as a run, together with those of its small runs.
func (b *books) fold(l *ledger, period int64) error {
	lines := l.fresh[period]
	var runs []*run
	for _, r := range l.runs[period] {
		if r.size-r.offset > mergeRun {
			runs = append(runs, r)
			continue
		}
		for c := b.cursor(l, r); ; c.advance() {
			if !c.peek() {
				c.close()
				break
			}
			lines = append(lines, c.line)
		}
		b.stale = append(b.stale, b.path(journalRuns, r.name))
	}
	slices.SortFunc(lines, compareLines)
	lines = slices.CompactFunc(lines, func(a, b line) bool {
		same := compareLines(a, b) == 0
		if same {
			l.bytes -= b.bytes
		}
		return same
	})
	r, err := b.write(lines)
	if err != nil {
		return err
	}
	l.runs[period] = append(runs, r)
	delete(l.fresh, period)
	return nil
}

// write makes a run.
func (b *books) write(lines []line) (*run, error) {
	r := &run{name: rand.Text()}
	f, err := os.OpenFile(b.path(journalRuns, r.name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(f, 64<<10)
	var text []byte
	for _, n := range lines {
		text = n.appendTo(text[:0])
		r.size += int64(len(text))
		_, _ = out.Write(text) // Flush has the error
	}
	err = out.Flush()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(f.Name()) // else the next collector does it
	}
	return r, err
}
