package cache

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/internal/filelock"
)

// books is what a collector knows from the journal: for each kind, what there is, those of an hour
// together. It is for the holder of the lock of the journal.
//
// On the disk it is a set of runs, files with the sorted lines of entries last known to be used in one
// hour, and a state that names them and says how far each was read. A run is never edited; the state is
// replaced as a whole. So a collector that is killed has changed nothing in the books: the next one
// begins where it began, and finds some entries gone.
type books struct {
	dir   string
	kinds map[Kind]*ledger
	logs  map[string]int64 // logs set aside, and how far they were read
	stale []string         // runs and logs that the next state does not need
}

// ledger is the part of one kind.
type ledger struct {
	kind    Kind
	scanned int64 // when all that there was came into the ledger, nanoseconds
	scan    *scan // while it is under way
	damaged bool  // a run is not what it was: there must be a scan
	bytes   int64 // the sum of all lines that are left
	runs    map[int64][]*run
	fresh   map[int64][]line // what is in no run yet
	hours   []int64          // the keys of runs and fresh, sorted; nil when that is to be done
}

// run is a file of sorted lines.
type run struct {
	name         string
	offset, size int64 // what is before offset was read, what is after size is not valid
}

func newLedger(kind Kind) *ledger {
	return &ledger{kind: kind, runs: map[int64][]*run{}, fresh: map[int64][]line{}}
}

// add notes an entry.
func (l *ledger) add(n line) {
	p := periodOf(n.used)
	if l.fresh[p] == nil && l.runs[p] == nil {
		l.hours = nil
	}
	l.fresh[p] = append(l.fresh[p], n)
	l.bytes += n.bytes
}

// after returns the first hour after p of which there are lines.
func (l *ledger) after(p int64) (hour int64, ok bool) {
	if l.hours == nil {
		l.hours = slices.AppendSeq(slices.Collect(maps.Keys(l.runs)), maps.Keys(l.fresh))
		slices.Sort(l.hours)
	}
	i, _ := slices.BinarySearch(l.hours, p+1)
	if i == len(l.hours) {
		return 0, false
	}
	return l.hours[i], true
}

// openBooks reads the state. Without a good one the books are empty.
func openBooks(dir string) *books {
	b := &books{dir: dir, kinds: map[Kind]*ledger{}, logs: map[string]int64{}}
	if text, err := os.ReadFile(b.path(journalState)); err == nil {
		b.parse(string(text))
	}
	return b
}

func (b *books) path(name ...string) string {
	return filepath.Join(b.dir, filepath.Join(name...))
}

// readLogs takes the new lines of all logs into the ledgers of their kinds. With aside the log itself
// is set aside before, so that it can go when its writers have.
func (b *books) readLogs(aside bool) error {
	log := b.path(journalLog)
	if info, err := os.Lstat(log); aside && err == nil && info.Size() > 0 {
		_ = os.Rename(log, b.path(journalAside+rand.Text())) // else it is read the next time
	}
	known := b.logs
	b.logs = map[string]int64{}
	return eachName(b.dir, func(e fs.DirEntry) error {
		isAside := strings.HasPrefix(e.Name(), journalAside)
		if !isAside && (aside || e.Name() != journalLog) {
			return nil
		}
		return b.readLog(e.Name(), known[e.Name()], isAside)
	})
}

func (b *books) readLog(name string, offset int64, aside bool) error {
	f, _, err := openRegular(b.path(name))
	if errors.Is(err, errNoFile) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// Whoever can lock a log that was set aside knows that nobody will write to it any more.
	ended := false
	if aside {
		ended, _ = filelock.Try(f, filelock.Exclusive)
	}
	info, err := f.Stat() // not before: what is written until then must be read
	if err != nil {
		return err
	}
	if offset > info.Size() {
		offset = 0
	}
	n, err := eachLine(io.NewSectionReader(f, offset, info.Size()-offset), b.take)
	if err != nil {
		return err
	}
	b.logs[name] = offset + n
	if ended {
		b.stale = append(b.stale, b.path(name))
	}
	return nil
}

// take adds what a line of a log says. A line that is no line is passed over.
func (b *books) take(text []byte) {
	kind, rest, ok := bytes.Cut(text, []byte(" "))
	l := b.kinds[Kind(kind)]
	if !ok || l == nil {
		return
	}
	switch n, ok := parseLine(rest); {
	case !ok:
	case l.scan != nil:
		l.scan.note(n)
	default:
		l.add(n)
	}
}

// eachLine calls f for each whole line and returns how many bytes they had. A line that is too long is
// empty, and one that has no end yet is left out.
func eachLine(r io.Reader, f func(text []byte)) (n int64, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		text, err := in.ReadSlice('\n')
		size := int64(len(text))
		for err == bufio.ErrBufferFull {
			text, err = in.ReadSlice('\n')
			size += int64(len(text))
			text = text[:0]
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		f(bytes.TrimSuffix(text, []byte("\n")))
		n += size
	}
}

func compareLines(a, b line) int {
	return cmp.Or(cmp.Compare(a.used, b.used), cmp.Compare(a.id, b.id))
}
