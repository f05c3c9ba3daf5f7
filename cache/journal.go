package cache

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
)

// Names below the directory journal. FORMAT.md explains them.
const (
	journalDir   = "journal"
	journalLock  = "lock"
	journalLog   = "log"
	journalAside = "log-" // and a random suffix
	journalState = "state"
	journalRuns  = "runs"
)

// journal appends what comes into being to the log that all processes share, so that a collector
// learns of it without looking everywhere. It is worth what it saves and nothing more: what it misses
// is found by a scan.
type journal struct {
	mu  sync.Mutex
	log *os.File // under a shared lock, so that a collector sees that it is being written to
}

// line is what the journal says of an entry: that there is one, and when it was last seen used.
type line struct {
	used  int64 // nanoseconds
	bytes int64
	id    string
}

// Created implements [Keeper].
func (d *Disk) Created(kind Kind, id string, bytes int64) {
	d.created(kind, line{d.useTime(), max(0, bytes), id})
}

func (d *Disk) created(kind Kind, lines ...line) {
	if !filelock.Advisory || !validKind(kind) {
		return
	}
	text := make([]byte, 0, 128*len(lines))
	for _, l := range lines {
		if validID(l.id) {
			text = l.appendTo(append(append(text, kind...), ' '))
		}
	}
	if len(text) > 0 {
		d.journal.append(d.dir, text)
	}
}

// append writes lines by one write. What cannot be noted is found by a scan, which the next
// collector does if there is no state.
func (j *journal) append(root string, text []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	if j.log == nil {
		j.log, err = openLog(filepath.Join(root, journalDir))
	}
	if err == nil {
		_, err = j.log.Write(text)
	}
	if err != nil {
		j.close()
		_ = os.Remove(filepath.Join(root, journalDir, journalState))
	}
}

// close lets go of the log. A line that comes after it opens it again.
func (j *journal) close() {
	if j.log != nil {
		_ = j.log.Close() // nothing is buffered, and nobody is told
		j.log = nil
	}
}

func (j *journal) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.close()
}

// openLog opens the log that collectors have not set aside. They lock one exclusively only after they
// gave it another name.
func openLog(dir string) (*os.File, error) {
	name := filepath.Join(dir, journalLog)
	for range maxRemoved {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			if err = os.MkdirAll(dir, 0o700); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		ok, err := filelock.Try(f, filelock.Shared)
		if ok && isAt(f, name) {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, &os.PathError{Op: "open", Path: name, Err: errors.New("set aside each time that it was opened")}
}

func (l line) appendTo(text []byte) []byte {
	text = append(strconv.AppendInt(text, l.used, 10), ' ')
	text = append(strconv.AppendInt(text, l.bytes, 10), ' ')
	return append(append(text, l.id...), '\n')
}

// parseLine reads what appendTo wrote, without the end of the line. It is hostile input.
func parseLine(text []byte) (l line, ok bool) {
	used, rest, ok1 := bytes.Cut(text, []byte(" "))
	size, id, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 {
		return l, false
	}
	var err1, err2 error
	l.used, err1 = strconv.ParseInt(string(used), 10, 64)
	l.bytes, err2 = strconv.ParseInt(string(size), 10, 64)
	l.id = string(id)
	return l, err1 == nil && err2 == nil && l.bytes >= 0 && validID(l.id)
}

// validKind reports whether a kind is a word that a line can have.
func validKind(k Kind) bool {
	return len(k) > 0 && len(k) <= 32 && strings.Trim(string(k), "abcdefghijklmnopqrstuvwxyz") == ""
}

// validID reports whether an ID can stand in a line, and is none that leads elsewhere as a file name.
func validID(id string) bool {
	if id == "" || id == "." || id == ".." || len(id) > 255 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c == 0x7f || c == '/' || c == '\\' {
			return false
		}
	}
	return true
}

// periodOf is the hour of a use. The journal keeps what was used in one hour together.
func periodOf(used int64) int64 { return used / int64(time.Hour) }
