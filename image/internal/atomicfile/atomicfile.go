// Package atomicfile writes a file that appears under its name complete or not at all. Start with [Create], and end with [File.Commit]
// or [File.Discard].
package atomicfile

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
)

// prefix starts the name of every temporary file and directory.
const prefix = ".tmp-"

// File is a file that is not under its name yet. It is not safe for concurrent use.
type File struct {
	*os.File
	path string
}

// TempPath returns a fresh name in the directory dir.
func TempPath(dir string) string { return filepath.Join(dir, prefix+strings.ToLower(rand.Text())) }

// Create opens a new temporary file beside path. Its mode is 0666 less the umask, like that of any file that a program writes.
func Create(path string) (*File, error) {
	f, err := os.OpenFile(TempPath(filepath.Dir(path)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return &File{f, path}, nil
}

// Commit flushes the file to the disk and gives it its name, in place of a file that had it. When it fails the file is gone, and
// what was under the name before is there still.
func (f *File) Commit() error {
	err := f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Discard removes the file. After Commit it does nothing.
func (f *File) Discard() {
	if f.Close() == nil {
		os.Remove(f.Name())
	}
}

// SyncDir makes the names in a directory durable, where the system can.
func SyncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // not every system and file system can; a name that is lost is one that was never written
		d.Close()
	}
}
