// Package atomicfile writes a file that appears under its name complete or not at all. Start with [Create], and end with [File.Commit]
// or [File.Discard]. A process that is killed in between leaves a file or directory for which [IsTemp] holds.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// prefix starts the name of every temporary file and directory.
const prefix = ".stagewright-"

// IsTemp reports whether a name, without its directory, is one that [TempPath] gives.
func IsTemp(name string) bool { return strings.HasPrefix(name, prefix) }

// File is a file that is not under its name yet. It is not safe for concurrent use.
type File struct {
	*os.File
	path string
}

// TempPath returns a fresh name in the directory dir.
func TempPath(dir string) string { return filepath.Join(dir, prefix+strings.ToLower(rand.Text())) }

// Create opens a new temporary file beside path. Its mode is 0666 less the umask, like that of any file that a program writes. An error
// names path, which is what the user knows.
func Create(path string) (*File, error) {
	f, err := os.OpenFile(TempPath(filepath.Dir(path)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = &fs.PathError{Op: "create", Path: path, Err: pe.Err}
		}
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

// MakeParents makes the directories above path that are missing. The function undo removes those again that are still empty; it is to
// be called when what they were made for has failed.
func MakeParents(path string) (undo func(), err error) {
	dir := filepath.Dir(filepath.Clean(path))
	var made []string // the deepest first
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || d == filepath.Dir(d) {
			break
		}
		made = append(made, d)
	}
	undo = func() {
		for _, d := range made {
			os.Remove(d)
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}
