package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
)

// ErrLocked says that somebody else holds the lock of a key.
var ErrLocked = errors.New("cache: locked")

// Locker is a [Store] in which one user of a key can keep out the others while it makes
// what the key stands for. Use [Lock].
type Locker interface {
	// TryLock takes the lock of key, which ends with Close or with the process. A
	// second Close does nothing.
	// Errors: [ErrLocked] when somebody holds it already, in this process or in
	// another; anything else means that the store has no working locks.
	TryLock(ctx context.Context, key Key) (io.Closer, error)
}

// Waits between two tries of a lock that is held. There is no way to wait for a lock of
// another process and for a context at once.
const (
	firstWait = time.Millisecond
	maxWait   = 50 * time.Millisecond
)

// Lock waits until nobody else makes what key stands for, so that of several
// processes that miss the same record one does the work:
//
//	lock, err := cache.Lock(ctx, store, key, nil)
//	defer lock.Close()
//	// Get again: whoever held the lock may have put the record.
//
// waiting, if it is not nil, is called once if somebody else holds the lock. The lock
// saves work and guards nothing: a store that is no [Locker], or whose locks do not work,
// gives one that does nothing. While it is held, the lock of a key that this one's work
// does not need must not be waited for. The error is the context's.
func Lock(ctx context.Context, s Store, key Key, waiting func()) (io.Closer, error) {
	l, ok := s.(Locker)
	for wait := firstWait; ok; wait = min(2*wait, maxWait) {
		lock, err := l.TryLock(ctx, key)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, ErrLocked) {
			break
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return noLease{}, ctx.Err()
}

// TryLock implements [Locker]: a file of its own under an exclusive lock, which its
// holder removes.
func (d *Disk) TryLock(ctx context.Context, key Key) (io.Closer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.isClosed() {
		return nil, d.wrap("lock", fs.ErrClosed)
	}
	name := filepath.Join(d.dir, locksDir, key.Hex())
	for range maxRemoved {
		f, err := openLockFile(name)
		if err != nil {
			return nil, d.wrap("lock", err)
		}
		ok, err := filelock.Try(f, filelock.Exclusive)
		if err == nil && ok && isAt(f, name) {
			return &keyLock{file: f}, nil
		}
		f.Close()
		if err != nil {
			return nil, d.wrap("lock", err)
		}
		if !ok {
			return nil, ErrLocked
		}
		// Its holder removed the file since it was opened: who locks a file without
		// a name keeps nobody out.
	}
	return nil, d.wrap("lock", fmt.Errorf("%s: %d files in a row were removed as soon as they were locked", name, maxRemoved))
}

// maxRemoved bounds the files that a lock is tried on: far more than holders can remove in
// between, so that a file system that tells files apart badly is not tried for ever.
const maxRemoved = 1000

func openLockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	}
	return f, err
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

// keyLock is one file of locks under its lock.
type keyLock struct {
	once sync.Once
	file *os.File
	err  error
}

// Close removes the file before it lets go of the lock, so that nobody locks one that is
// about to be removed. Windows removes no open file.
func (l *keyLock) Close() error {
	l.once.Do(func() {
		if runtime.GOOS != "windows" {
			_ = os.Remove(l.file.Name()) // else the next sweep does it
		}
		l.err = l.file.Close()
		if runtime.GOOS == "windows" {
			_ = os.Remove(l.file.Name()) // fails if somebody has it open again
		}
	})
	return l.err
}

// TryLock implements [Locker] for the users of this Memory.
func (m *Memory) TryLock(ctx context.Context, key Key) (io.Closer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, held := m.locks[key]; held {
		return nil, ErrLocked
	}
	if m.locks == nil {
		m.locks = map[Key]struct{}{}
	}
	m.locks[key] = struct{}{}
	return &memoryLock{unlock: sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locks, key)
	})}, nil
}

type memoryLock struct{ unlock func() }

func (l *memoryLock) Close() error {
	l.unlock()
	return nil
}
