//go:build unix

package source

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/stagewright/stagewright/internal/filelock"
	"golang.org/x/sys/unix"
)

// nextMemo is the file in which a new memo is written, under its lock.
func nextMemo(path string) string {
	return filepath.Join(filepath.Dir(path), ".memo-"+filepath.Base(path))
}

// errWriting says that another process is writing a new memo.
var errWriting = errors.New("another process is writing one")

// createMemo makes an empty file for a new memo in the place of path, or takes that of a process that was killed. It fails when another process
// is writing one.
func createMemo(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(nextMemo(path), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		ok, err := filelock.Try(f, filelock.Exclusive)
		if ok && !isNamed(f) { // it has become the memo since it was opened
			f.Close()
			continue
		}
		switch {
		case ok:
			err = f.Truncate(0)
		case err == nil:
			err = errWriting
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
}

func isNamed(f *os.File) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(open, there)
}

// moveMemo gives a written file its name, and closes it.
func moveMemo(f *os.File, path string) error {
	err := os.Rename(f.Name(), path)
	if err != nil {
		os.Remove(f.Name())
	}
	return errors.Join(err, f.Close())
}

// sweepMemo removes what a process that was killed left of a new memo.
func sweepMemo(path string) {
	if _, err := os.Lstat(nextMemo(path)); err != nil {
		return
	}
	if f, err := createMemo(path); err == nil {
		os.Remove(f.Name())
		f.Close()
	}
}
