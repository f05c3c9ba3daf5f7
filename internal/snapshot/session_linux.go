package snapshot

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stagewright/stagewright/internal/filelock"
	"golang.org/x/sys/unix"
)

// deadPrefix marks what was taken over from a dead session: nobody waits for its removal.
const deadPrefix = "dead-"

// A session is a directory for unfinished work, below a directory tmp that processes share. It is this process's own as long as its lock
// is held, which ends with the process at the latest.
type session struct {
	root
	tmp, path string
	lock      *os.File
	next      atomic.Uint64
	closed    atomic.Bool
	sweeper   sync.WaitGroup

	trashMu  sync.Mutex
	trash    []string // names that are to be removed by sweepTrash
	sweeping bool

	aheadMu sync.Mutex
	uppers  int    // how many were taken
	ahead   string // the name of one that was made ahead, "" for none
	making  bool
}

// maxTrash is the number of directories that may wait for their removal. A step waits for no other one's rubbish, but a caller that makes it
// faster than it can be removed does.
const maxTrash = 64

// newSession begins a session in tmp, which exists, and removes in the background what dead sessions left there. All of it happens under
// one lock in tmp, so that no session is ever seen between its mkdir and its lock.
func newSession(tmp string) (*session, error) {
	gate, err := lockWait(filepath.Join(tmp, lockFile), filelock.Exclusive)
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	s := &session{tmp: tmp, path: filepath.Join(tmp, rand.Text())}
	if err := os.Mkdir(s.path, 0o700); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if s.root, err = openRoot(s.path); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	spread(s.fd)
	if s.lock, err = lockTry(filepath.Join(s.path, lockFile)); err != nil {
		s.root.close()
		return nil, fmt.Errorf("snapshot: locking a new session: %w", err)
	}
	dead := s.takeDead()
	if len(dead) > 0 {
		s.sweeper.Go(func() {
			for _, name := range dead {
				_ = removeTree(s.fd, name, s.closed.Load) // what cannot be removed now is found again by the next Open
			}
		})
	}
	return s, nil
}

// hasDead reports whether there is a session in tmp that nobody holds.
func hasDead(tmp string) bool {
	entries, err := os.ReadDir(tmp)
	if err != nil || !slices.ContainsFunc(entries, os.DirEntry.IsDir) {
		return false
	}
	gate, err := lockTry(filepath.Join(tmp, lockFile))
	if err != nil {
		return false // somebody is at it
	}
	defer gate.Close()
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		if !e.IsDir() {
			return false
		}
		lock, err := lockTry(filepath.Join(tmp, e.Name(), lockFile))
		if err != nil {
			return false
		}
		lock.Close()
		return true
	})
}

// takeDead moves the directories of sessions that nobody holds into this one and returns their new names.
func (s *session) takeDead() []string {
	entries, err := os.ReadDir(s.tmp)
	if err != nil {
		return nil // nothing depends on it
	}
	var dead []string
	for _, e := range entries {
		path := filepath.Join(s.tmp, e.Name())
		if !e.IsDir() || path == s.path {
			continue
		}
		lock, err := lockTry(filepath.Join(path, lockFile))
		if err != nil {
			continue // alive, or not ours to judge
		}
		name := deadPrefix + s.tempName()
		if os.Rename(path, filepath.Join(s.path, name)) == nil {
			dead = append(dead, name)
		}
		lock.Close()
	}
	return dead
}

// tempName returns a name that nothing in the session has yet, and no other session: ext4 derives from it where a directory goes.
func (s *session) tempName() string {
	return strconv.FormatUint(s.next.Add(1), 10) + "-" + filepath.Base(s.path)[:8]
}

const topDir = 0x00020000 // FS_TOPDIR_FL, linux/fs.h

// spread asks ext4 to give each directory that is made in fd a place of its own, as chattr(1) does with +T. ext4 takes no inode that was
// freed in the last minutes and looks at those of a block group one by one, and each step frees some ten: where other steps have just been, or the
// builds of others in /tmp, making a file takes ten times as long (120 µs against 12). Other filesystems refuse, and need no hint.
func spread(fd int) {
	if flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags|topDir))
	}
}

// mkdirs makes a new directory in the session with the given directories inside it, and returns its name.
func (s *session) mkdirs(inside ...string) (string, error) {
	name := s.tempName()
	for _, path := range append([]string{""}, inside...) {
		path = filepath.Join(name, path)
		if err := unix.Mkdirat(s.fd, path, 0o700); err != nil {
			return "", errors.Join(onDisk("mkdir", filepath.Join(s.path, path), err), s.discard(name))
		}
	}
	return name, nil
}

// takeUpper returns the name of fresh directories for an upper: fsDir and workDir inside it. From the second on the next ones are made beside what the
// caller goes on with, since on ext4 the three take half a millisecond where a step that does nothing takes eight. The work directory is inside because
// each directory of the session itself is given a place of its own (see spread), and looking for that is what takes longest.
func (s *session) takeUpper() (string, error) {
	s.aheadMu.Lock()
	name := s.ahead
	s.ahead = ""
	if s.uppers++; s.uppers > 1 && !s.making && !s.closed.Load() {
		s.making = true
		s.sweeper.Go(s.makeAhead)
	}
	s.aheadMu.Unlock()
	if name != "" {
		return name, nil
	}
	return s.mkdirs(fsDir, workDir)
}

func (s *session) makeAhead() {
	name, err := s.mkdirs(fsDir, workDir)
	s.aheadMu.Lock()
	defer s.aheadMu.Unlock()
	s.making = false
	if err == nil { // else who wants one makes it, and is told why it cannot be
		s.ahead = name
	}
}

// discard deletes the directory name of the session.
func (s *session) discard(name string) error { return removeTree(s.fd, name, nil) }

// discardLater deletes the directory name of the session beside what the caller goes on with: a removal of ten inodes takes a twelfth of the time
// of a step that does nothing. What cannot be removed is tried again by close, which says why not.
func (s *session) discardLater(name string) error {
	s.trashMu.Lock()
	later := len(s.trash) < maxTrash && !s.closed.Load()
	if later {
		s.trash = append(s.trash, name)
		if !s.sweeping {
			s.sweeping = true
			s.sweeper.Go(s.sweepTrash)
		}
	}
	s.trashMu.Unlock()
	if later {
		return nil
	}
	return s.discard(name)
}

func (s *session) sweepTrash() {
	for {
		s.trashMu.Lock()
		if len(s.trash) == 0 || s.closed.Load() { // close removes the rest
			s.sweeping = false
			s.trashMu.Unlock()
			return
		}
		name := s.trash[0]
		s.trash = s.trash[1:]
		s.trashMu.Unlock()
		_ = removeTree(s.fd, name, s.closed.Load)
	}
}

// close ends the session and deletes what it made. A removal of dead sessions' files stops where it is; the next session goes on with it.
func (s *session) close() error {
	if s.closed.Swap(true) {
		return nil
	}
	defer s.root.close()
	defer s.lock.Close()
	s.sweeper.Wait()
	names, err := readNames(s.fd, 1<<20)
	for _, name := range names {
		if name != lockFile && !strings.HasPrefix(name, deadPrefix) {
			err = errors.Join(err, s.discard(name))
		}
	}
	gate, lockErr := lockWait(filepath.Join(s.tmp, lockFile), filelock.Exclusive) // nobody may take the session between the two removals
	if lockErr != nil {
		return errors.Join(err, lockErr)
	}
	defer gate.Close()
	rmErr := errors.Join(unix.Unlinkat(s.fd, lockFile, 0), os.Remove(s.path))
	if errors.Is(rmErr, unix.ENOTEMPTY) {
		rmErr = nil
	}
	return errors.Join(err, rmErr)
}
