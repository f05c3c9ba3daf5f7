package cache

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
)

// A session is a directory for the temporary files of one Disk, alive while a
// lock on the file "lock" in it is held. Sessions and leases are made under a
// shared lock on the store's gate, and swept under an exclusive one, so a
// sweeper never meets one that has no lock yet.
type session struct {
	dir  string
	lock *os.File
}

const sessionLock = "lock"

func openSession(root string) (*session, error) {
	sweep(root)
	gate, err := enterGate(root)
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	spread(filepath.Join(root, tmpDir))
	s := &session{dir: filepath.Join(root, tmpDir, rand.Text())}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	s.lock, err = createLocked(filepath.Join(s.dir, sessionLock))
	if err != nil {
		_ = os.RemoveAll(s.dir)
		return nil, err
	}
	return s, nil
}

// close removes the session's files before it lets go of the lock.
func (s *session) close() error {
	return errors.Join(os.RemoveAll(s.dir), s.lock.Close())
}

// enterGate takes the shared lock under which sessions and leases are made.
func enterGate(root string) (*os.File, error) {
	gate, err := openGate(root)
	if err != nil {
		return nil, err
	}
	if err := filelock.Wait(gate, filelock.Shared); err != nil {
		gate.Close()
		return nil, err
	}
	return gate, nil
}

func openGate(root string) (*os.File, error) {
	return os.OpenFile(filepath.Join(root, gateFile), os.O_RDWR|os.O_CREATE, 0o600)
}

// createLocked makes a new file and takes a shared lock on it. Nobody else may
// have heard of the name yet but sweepers, whom the gate keeps out.
func createLocked(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.Wait(f, filelock.Shared); err != nil {
		f.Close()
		_ = os.Remove(name)
		return nil, err
	}
	return f, nil
}

// sweep removes what dead processes left: sessions with their temporary files,
// leases, locks, and versions that did not get their name. It is a courtesy to the disk: when another process is at it, or
// something cannot be removed, it is left to the next.
func sweep(root string) {
	gate, err := openGate(root)
	if err != nil {
		return
	}
	defer gate.Close()
	if ok, err := filelock.Try(gate, filelock.Exclusive); err != nil || !ok {
		return
	}
	sessions, _ := os.ReadDir(filepath.Join(root, tmpDir))
	for _, e := range sessions {
		dir := filepath.Join(root, tmpDir, e.Name())
		removeDead(filepath.Join(dir, sessionLock), dir)
	}
	for _, sub := range []string{leasesDir, locksDir} {
		files, _ := os.ReadDir(filepath.Join(root, sub))
		for _, e := range files {
			name := filepath.Join(root, sub, e.Name())
			removeDead(name, name)
		}
	}
	top, _ := os.ReadDir(root)
	for _, e := range top {
		if strings.HasPrefix(e.Name(), versionTemp) { // there is a version by now, which whoever is late looks for
			_ = os.Remove(filepath.Join(root, e.Name()))
		}
	}
}

// removeDead removes path unless a living process holds the lock.
func removeDead(lock, path string) {
	f, _, err := openRegular(lock)
	if errors.Is(err, errNoFile) && lock == path {
		return // its holder has removed it
	}
	if err != nil && !errors.Is(err, errNoFile) && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		defer f.Close()
		// Locks of keys come and go without the gate: the name may by now be that of
		// another file, which is alive.
		if ok, err := filelock.Try(f, filelock.Exclusive); err != nil || !ok || !isAt(f, lock) {
			return
		}
	}
	_ = os.RemoveAll(path)
}

// lease is one lease file under its lock.
type lease struct {
	once sync.Once
	file *os.File
	uses *uses
	err  error
}

func openLease(root string, u *uses, clock func() time.Time) (*lease, error) {
	gate, err := enterGate(root)
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	name := filepath.Join(root, leasesDir, rand.Text())
	f, err := createLocked(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
		f, err = createLocked(name)
	}
	if err != nil {
		return nil, err
	}
	l := &lease{file: f, uses: u}
	start, err := beginLease(f, clock())
	u.begin(start)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close ends the lease.
func (l *lease) Close() error {
	l.once.Do(func() {
		l.uses.end()
		// Removed while still locked, so that a sweeper never holds the name.
		err := os.Remove(l.file.Name())
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		l.err = errors.Join(err, l.file.Close())
	})
	return l.err
}
