package local

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/stagewright/stagewright/internal/keep"
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

// newTemporary sweeps parent, which need not exist, beside what the caller does.
func newTemporary(parent string) *temporary {
	t := &temporary{parent: parent}
	t.sweeper.Go(func() { keep.Sweep(parent) })
	return t
}

// path makes the directory at the first call.
func (t *temporary) path() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dir != "" {
		return t.dir, nil
	}
	if err := os.MkdirAll(t.parent, 0o700); err != nil {
		return "", err
	}
	dir := filepath.Join(t.parent, rand.Text())
	release, err := keep.Hold(dir)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		release()
		return "", err
	}
	t.dir, t.release = dir, release
	return dir, nil
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
