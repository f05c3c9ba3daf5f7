// Package lock keeps a file that says which digest each image reference had, so that a
// build next month stands on the same bases.
//
//	file, err := lock.Open("stagewright.lock")
//	g, err := stage.Compile(ctx, targets, stage.Options{Resolver: file.Resolver(registry, lock.Add)})
//	err = file.Save()
//
// stagewright.Options.Lock does the three.
//
// # File
//
// The first line is "stagewright lock 1". Each further line is a reference as it is
// written in the stages, a platform and the digest, between single spaces, sorted, so
// that it reads well in a review and merges line by line.
//
// # Guarantees
//
// A reference that has a digest of its own needs no lock and gets no line. Save writes
// the whole file or nothing, and does not touch a file that says the same.
//
// # Concurrency
//
// A File may be used from several goroutines at once. Of two processes that Save at the
// same time in mode [Add] both additions stay, unless they fall into the same instant;
// then the next build adds what is missing.
package lock

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/platform"
)

// Entry is one line of a lock file.
type Entry struct {
	Ref      string // as it is written in the stages, arguments filled in
	Platform platform.Platform
	Digest   digest.Digest // of the index, where the reference is one, else of the manifest
}

// Limits of a lock file.
const (
	maxBytes = 16 << 20
	header   = "stagewright lock 1"
)

type key struct{ ref, platform string }

// File is a lock file and what the builds of this process did with it.
type File struct {
	path string

	mu      sync.Mutex
	entries map[key]digest.Digest
	added   map[key]digest.Digest // not in the file yet
	used    map[key]bool
	update  bool // a resolver resolved anew: what was not used goes
}

// SyntaxError reports a line of a lock file that is none.
type SyntaxError struct {
	File string
	Line int
	Err  error
}

// Error names the file and the line, what is wrong there, and how to go on.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d: %v; restore the file from version control, or remove it to resolve everything anew", e.File, e.Line, e.Err)
}

// Unwrap returns what is wrong with the line.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Open reads the lock file at path. One that does not exist is empty, and made by Save.
// Errors: *[SyntaxError]; those of reading.
func Open(path string) (*File, error) {
	entries, err := read(path)
	if err != nil {
		return nil, err
	}
	return &File{path: path, entries: entries, added: map[key]digest.Digest{}, used: map[key]bool{}}, nil
}

func read(path string) (map[key]digest.Digest, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[key]digest.Digest{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("lock file %s: %w", path, err)
	}
	if len(data) > maxBytes {
		return nil, fmt.Errorf("lock file %s: it has more than %d bytes, so it is no lock file", path, maxBytes)
	}
	return parse(path, data)
}

// parse reads the lines of a lock file.
func parse(path string, data []byte) (map[key]digest.Digest, error) {
	entries := map[key]digest.Digest{}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
		fail := func(format string, args ...any) error {
			return &SyntaxError{File: path, Line: n, Err: fmt.Errorf(format, args...)}
		}
		if n == 1 {
			if text != header {
				return nil, fail("it begins with %.60q; want the line %q", text, header)
			}
			continue
		}
		words := strings.Split(text, " ")
		if len(words) != 3 || words[0] == "" {
			return nil, fail("%.120q is not \"REFERENCE PLATFORM DIGEST\"", text)
		}
		p, err := platform.Parse(words[1])
		if err != nil {
			return nil, fail("%w", err)
		}
		d, err := digest.Parse(words[2])
		if err != nil {
			return nil, fail("digest %.100q: %w", words[2], err)
		}
		k := key{words[0], p.String()}
		if _, twice := entries[k]; twice {
			return nil, fail("%s for %s stands in the file twice", k.ref, k.platform)
		}
		entries[k] = d
	}
	return entries, nil
}

// Entries are the lines that the file has now, with what was added, sorted by reference
// and platform.
func (f *File) Entries() []Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []Entry
	for k, d := range f.entries {
		p, err := platform.Parse(k.platform)
		if err != nil { // written by Platform.String
			continue
		}
		list = append(list, Entry{k.ref, p, d})
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Ref, b.Ref), strings.Compare(a.Platform.String(), b.Platform.String()))
	})
	return list
}

// Save writes the file if something was added or, in mode [Update], changed or not used
// any more. Errors are those of writing; the file is then as it was.
func (f *File) Save() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.entries
	if f.update {
		now = maps.Clone(f.entries)
		maps.DeleteFunc(now, func(k key, _ digest.Digest) bool { return !f.used[k] })
	} else if len(f.added) == 0 {
		return nil
	} else if others, err := read(f.path); err == nil {
		maps.Copy(others, f.added)
		now = others
	}
	text := format(now)
	if old, err := os.ReadFile(f.path); err != nil || !bytes.Equal(old, text) {
		if err := write(f.path, text); err != nil {
			return fmt.Errorf("lock file %s: %w", f.path, err)
		}
	}
	f.entries = now
	clear(f.added)
	return nil
}

// format is the text of a lock file.
func format(entries map[key]digest.Digest) []byte {
	lines := make([]string, 0, len(entries))
	for k, d := range entries {
		lines = append(lines, k.ref+" "+k.platform+" "+d.String()+"\n")
	}
	slices.Sort(lines)
	return []byte(header + "\n" + strings.Join(lines, ""))
}

// write replaces a file as a whole.
func write(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".stagewright-lock-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	mode := fs.FileMode(0o644)
	if fi, err := os.Stat(path); err == nil {
		mode = fi.Mode().Perm()
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
