package local

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/stagewright/stagewright/internal/keep"
	"github.com/stagewright/stagewright/internal/snapshot"
)

// temporary is a directory for what goes with an executor, below one that processes share.
// What a process that is dead has left there goes when the next one begins.
type temporary struct {
	parent  string
	sweeper sync.WaitGroup

	mu      sync.Mutex
	dir     string // empty before it is needed
	release func()
}

// newTemporary sweeps its place below a private directory, which need not exist, and that of
// snapshots, beside what the caller does.
func newTemporary(private string) *temporary {
	t := &temporary{parent: filepath.Join(private, temporaryDir)}
	t.sweeper.Go(func() {
		keep.Sweep(t.parent)
		snapshot.Sweep(filepath.Join(private, snapshotsDir))
	})
	return t
}

// path makes the directory at the first call.
func (t *temporary) path() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dir != "" {
		return t.dir, nil
	}
	dir, release, err := t.make()
	if onlyRead(err) {
		// What is temporary may lie elsewhere, so that a cache that is only read does what it can.
		dir, err = os.MkdirTemp("", "stagewright-")
		release = func() {}
	}
	if err != nil {
		return "", err
	}
	t.dir, t.release = dir, release
	return dir, nil
}

func (t *temporary) make() (dir string, release func(), err error) {
	if err := os.MkdirAll(t.parent, 0o700); err != nil {
		return "", nil, err
	}
	dir = filepath.Join(t.parent, rand.Text())
	if release, err = keep.Hold(dir); err != nil {
		return "", nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		release()
		return "", nil, err
	}
	return dir, release, nil
}

// onlyRead reports whether an error says that nothing may be written.
func onlyRead(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}

// close removes the directory.
func (t *temporary) close() error {
	if t == nil {
		return nil
	}
	t.sweeper.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dir == "" {
		return nil
	}
	err := errors.Join(keep.RemoveAll(t.dir), keep.Unmark(t.dir))
	t.release()
	t.dir = ""
	return err
}

// tempDir is where temporary files of this executor lie.
func (e *Executor) tempDir() (string, error) {
	e.mu.Lock()
	err := e.makePrivate()
	temp := e.temp
	e.mu.Unlock()
	if err != nil {
		return "", err
	}
	return temp.path()
}
