package keep

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
	"github.com/stagewright/stagewright/internal/filestat"
)

// ErrInUse is wrapped by the errors of [RemoveDir] when somebody holds the directory, or has used it too lately.
var ErrInUse = errors.New("in use")

// An Entry is one file or directory that is kept.
type Entry struct {
	Name  string
	Bytes int64     // allocated on the disk, each inode once, with the file that marks its use
	Used  time.Time // in the future where the clock was ahead
}

const usedSuffix = ".used"

// LockSuffix follows the name of a directory in that of a lock which only those take who hold the directory: so it goes with the directory.
const LockSuffix = ".lock"

// Hold marks the directory, which need not exist yet, as used now, and keeps it from being removed until release. The directory above must
// exist. It waits for a collector only, which has looked and removes in microseconds. On a file system that is only read, where no collector
// removes anything either, it does nothing.
func Hold(dir string) (release func(), err error) {
	name := dir + usedSuffix
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, syscall.EROFS) {
			return func() {}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("marking a directory as used: %w", err)
		}
		if filelock.Advisory {
			err = filelock.Wait(f, filelock.Shared)
		}
		if err == nil && !isAt(f, name) { // a collector has removed it since it was opened
			f.Close()
			continue
		}
		if err == nil {
			now := time.Now()
			err = os.Chtimes(name, now, now)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("marking a directory as used: %w", err)
		}
		return func() { f.Close() }, nil
	}
}

// alone takes the lock of a mark, which nobody can write to meanwhile, unless somebody has it. Where a lock keeps its owner from
// writing, too, only time tells whether somebody holds a directory.
func alone(f *os.File) (bool, error) {
	if !filelock.Advisory {
		return true, nil
	}
	return filelock.Try(f, filelock.Exclusive)
}

// isAt reports whether name is still the name of an open file.
func isAt(f *os.File, name string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(name)
	return err == nil && os.SameFile(open, there)
}

// measured is what the file that marks a use remembers, so that a directory is not walked through again for nothing.
type measured struct {
	bytes int64
	used  int64 // the mark that it was measured after, in nanoseconds since the Unix epoch
	at    int64 // when it was measured
}

func readMeasured(name string) (m measured, ok bool) {
	b, err := os.ReadFile(name)
	if err != nil || len(b) != 24 {
		return m, false
	}
	m.bytes, m.used, m.at = int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:])), int64(binary.BigEndian.Uint64(b[16:]))
	return m, m.bytes >= 0
}

// remember writes what was measured into the mark, unless somebody uses the directory.
func remember(name string, m measured) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if ok, err := alone(f); err != nil || !ok || !isAt(f, name) {
		return
	}
	info, err := f.Stat()
	if err != nil || info.ModTime().UnixNano() != m.used {
		return
	}
	b := make([]byte, 24)
	binary.BigEndian.PutUint64(b, uint64(m.bytes))
	binary.BigEndian.PutUint64(b[8:], uint64(m.used))
	binary.BigEndian.PutUint64(b[16:], uint64(m.at))
	_, _ = f.WriteAt(b, 0)
	_ = os.Chtimes(name, info.ModTime(), info.ModTime())
}

// staleSize is how long a directory that is used all the time is believed to have the size that it had.
const staleSize = time.Hour

// Dirs calls yield for each directory in parent that is kept. One that was measured since its last use is not measured again; with lazy
// that also goes for one that was measured within the last hour. A parent that does not exist has none. The errors are those of yield, of the disk and the context's.
func Dirs(ctx context.Context, parent string, lazy bool, yield func(Entry) error) error {
	names, err := os.ReadDir(parent)
	if err != nil {
		return ignoreGone(err)
	}
	for _, n := range names {
		if !n.IsDir() {
			continue
		}
		e, err := dirEntry(ctx, filepath.Join(parent, n.Name()), lazy)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

func dirEntry(ctx context.Context, dir string, lazy bool) (Entry, error) {
	e := Entry{Name: filepath.Base(dir)}
	mark := dir + usedSuffix
	info, err := os.Lstat(mark)
	if errors.Is(err, fs.ErrNotExist) { // nobody has held it yet
		if info, err := os.Lstat(dir); err == nil {
			e.Used = info.ModTime()
		}
		e.Bytes, err = Bytes(ctx, dir)
		return e, err
	}
	if err != nil {
		return e, err
	}
	e.Used = info.ModTime()
	used, now := info.ModTime().UnixNano(), time.Now()
	m, ok := readMeasured(mark)
	since := now.Sub(time.Unix(0, m.at))
	if !ok || m.used != used && !(lazy && since >= 0 && since < staleSize) {
		m = measured{used: used, at: now.UnixNano()}
		if m.bytes, err = Bytes(ctx, dir); err != nil {
			return e, err
		}
		remember(mark, m)
		if info, err = os.Lstat(mark); err != nil {
			return e, err
		}
	}
	e.Bytes = m.bytes + filestat.Allocated(info)
	return e, nil
}

// RemoveDir removes a directory with its mark and the lock of [LockSuffix], and returns the bytes that they took. It is first moved to trash, a directory of the same file
// system that [Sweep] empties when a process is killed meanwhile. The error wraps [ErrInUse] when somebody holds it, or has used it
// at unless or later, and then nothing has changed. That it is absent is no error.
func RemoveDir(ctx context.Context, dir, trash string, unless time.Time) (freed int64, err error) {
	if err := os.MkdirAll(trash, 0o700); err != nil {
		return 0, err
	}
	gone := filepath.Join(trash, rand.Text())
	release, err := Hold(gone) // so that Sweep leaves it to us
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, Unmark(gone))
		release()
	}()
	mark, err := takeAway(dir, gone, unless)
	if err != nil {
		return 0, ignoreGone(err)
	}
	n, err := Bytes(ctx, gone)
	if err != nil {
		return mark, ignoreGone(err)
	}
	return mark + n, RemoveAll(gone)
}

// takeAway gives a directory that nobody uses another name, and returns what its mark took.
func takeAway(dir, gone string, unless time.Time) (int64, error) {
	mark := dir + usedSuffix
	if err := makeMark(dir, gone+".mark"); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(mark, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if ok, err := alone(f); err != nil || !ok || !isAt(f, mark) {
		return 0, errors.Join(ErrInUse, err)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if used := info.ModTime(); !used.Before(unless) {
		if now := time.Now(); used.After(now) { // the clock was set back: from here on it counts as used now
			_ = os.Chtimes(mark, now, now)
		}
		return 0, ErrInUse
	}
	if err := os.Rename(dir, gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	_ = os.Remove(dir + LockSuffix)                  // nobody has it, nor waits for it: they would hold the directory
	return filestat.Allocated(info), os.Remove(mark) // under its lock: who has opened it sees that it is not the name any more
}

// makeMark makes the mark of a directory that nobody has held yet, as old as the directory.
func makeMark(dir, temp string) error {
	if _, err := os.Lstat(dir + usedSuffix); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(temp, nil, 0o600); err != nil {
		return err
	}
	defer os.Remove(temp)
	err = os.Chtimes(temp, info.ModTime(), info.ModTime())
	if err == nil {
		err = os.Link(temp, dir+usedSuffix)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // somebody has begun to use it
	}
	return err
}

// Sweep removes everything in parent that nobody holds, for a directory of what is of use only to processes that live. What cannot be removed stays for the next time.
func Sweep(parent string) {
	names, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	now := time.Now()
	unheld := now.Add(time.Hour)
	if !filelock.Advisory {
		unheld = now.Add(-24 * time.Hour)
	}
	for _, n := range names {
		name := filepath.Join(parent, n.Name())
		dir, mark := strings.CutSuffix(name, usedSuffix)
		switch {
		case mark || n.IsDir():
			_, _ = RemoveDir(context.Background(), dir, parent, unheld)
		default: // nobody can hold it: its process has had time enough
			if info, err := n.Info(); err == nil && now.Sub(info.ModTime()) > 24*time.Hour {
				_ = os.Remove(name)
			}
		}
	}
}

// Settle makes the last use of a directory that is kept another time, as far as it can be set.
func Settle(dir string, used time.Time) {
	if err := os.Chtimes(dir+usedSuffix, used, used); errors.Is(err, fs.ErrNotExist) { // nobody has held it yet
		_ = os.Chtimes(dir, used, used)
	}
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Unmark removes the mark of a directory that the caller holds and has removed.
func Unmark(dir string) error { return ignoreGone(os.Remove(dir + usedSuffix)) }
