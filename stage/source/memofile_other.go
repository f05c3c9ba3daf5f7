//go:build !unix

package source

import (
	"errors"
	"os"
	"path/filepath"
)

// createMemo makes an empty file for a new memo in the place of path.
func createMemo(path string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), ".memo-*")
}

// moveMemo closes a written file and gives it its name.
func moveMemo(f *os.File, path string) error {
	err := f.Close()
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// sweepMemo does nothing where nothing says that the process that writes a memo is alive.
func sweepMemo(string) {}
